// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LooseToken} from "./LooseToken.sol";

/// @title Moves correctly and answers nothing, as some of the oldest and largest tokens do
contract NoReturnToken is LooseToken {
    constructor() LooseToken("No Return Token", "NORET") {}

    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
        emit Transfer(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        _useAllowance(from, amount);
        _move(from, to, amount);
        emit Transfer(from, to, amount);
    }
}
