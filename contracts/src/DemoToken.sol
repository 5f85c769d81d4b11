// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title An honest token for the demo and for tests
/// @notice Has no value. Whoever deploys it owns it and mints.
contract DemoToken is ERC20, Ownable {
    uint8 private immutable _scale;

    constructor(string memory name_, string memory symbol_, uint8 scale)
        ERC20(name_, symbol_)
        Ownable(msg.sender)
    {
        _scale = scale;
    }

    /// @notice Make amount new units for to.
    function mint(address to, uint256 amount) external onlyOwner {
        _mint(to, amount);
    }

    /// @inheritdoc ERC20
    function decimals() public view override returns (uint8) {
        return _scale;
    }
}
