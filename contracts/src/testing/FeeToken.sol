// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LooseToken} from "./LooseToken.sol";

/// @title Keeps 2 % of every transfer
/// @notice The honest form says so in its events; the other claims the whole amount arrived.
contract FeeToken is LooseToken {
    uint256 public constant FEE_PERCENT = 2;
    address public constant COLLECTOR = address(0xFEE);

    bool public immutable honest;

    constructor(bool honest_) LooseToken("Fee Token", "FEE") {
        honest = honest_;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _transfer(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        _useAllowance(from, amount);
        return _transfer(from, to, amount);
    }

    function _transfer(address from, address to, uint256 amount) private returns (bool) {
        uint256 fee = (amount * FEE_PERCENT) / 100;
        _move(from, to, amount - fee);
        _move(from, COLLECTOR, fee);
        if (honest) {
            emit Transfer(from, to, amount - fee);
            emit Transfer(from, COLLECTOR, fee);
        } else {
            emit Transfer(from, to, amount);
        }
        return true;
    }
}
