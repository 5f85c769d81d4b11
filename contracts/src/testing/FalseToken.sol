// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LooseToken} from "./LooseToken.sol";

/// @title Answers false instead of reverting
/// @notice Three forms of not doing what was asked.
contract FalseToken is LooseToken {
    enum Form {
        SILENT, // no event, nothing moved
        EVENT_ONLY, // the event of a transfer, nothing moved
        INFLATED_EVENT // half is moved, the event says all of it
    }

    Form public immutable form;

    constructor(Form form_) LooseToken("False Token", "FALSE") {
        form = form_;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _pretend(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        return _pretend(from, to, amount);
    }

    function _pretend(address from, address to, uint256 amount) private returns (bool) {
        if (form == Form.INFLATED_EVENT) _move(from, to, amount / 2);
        if (form != Form.SILENT) emit Transfer(from, to, amount);
        return false;
    }
}
