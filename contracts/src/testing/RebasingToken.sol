// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LooseToken} from "./LooseToken.sol";

/// @title Everybody's balance changes without an event
contract RebasingToken is LooseToken {
    event Rebased(uint256 numerator, uint256 denominator);

    uint256 public numerator = 1;
    uint256 public denominator = 1;

    constructor() LooseToken("Rebasing Token", "REBASE") {}

    /// @notice From now on a share is worth numerator / denominator units.
    function rebase(uint256 numerator_, uint256 denominator_) external {
        numerator = numerator_;
        denominator = denominator_;
        emit Rebased(numerator_, denominator_);
    }

    function balanceOf(address owner) public view override returns (uint256) {
        return (_balances[owner] * numerator) / denominator;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _transfer(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        _useAllowance(from, amount);
        return _transfer(from, to, amount);
    }

    function _transfer(address from, address to, uint256 amount) private returns (bool) {
        _move(from, to, (amount * denominator) / numerator);
        emit Transfer(from, to, amount);
        return true;
    }
}
