// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LooseToken} from "./LooseToken.sol";

/// @title Calls itself whatever its maker likes: the name and symbol of a listed token
contract CounterfeitToken is LooseToken {
    constructor(string memory name_, string memory symbol_) LooseToken(name_, symbol_) {}

    function transfer(address to, uint256 amount) external returns (bool) {
        _move(msg.sender, to, amount);
        emit Transfer(msg.sender, to, amount);
        return true;
    }

    /// @notice Say that from paid to, which never happened.
    function pretend(address from, address to, uint256 amount) external {
        emit Transfer(from, to, amount);
    }
}
