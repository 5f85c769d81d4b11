// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBatchPayer} from "../BatchPayer.sol";
import {LooseToken} from "./LooseToken.sol";

/// @title A token, and a recipient of native coin, that makes trouble for who pays one owner
contract Troublemaker is LooseToken {
    enum Mood {
        HONEST,
        REVERTS,
        SAYS_FALSE, // and moves all the same
        SAYS_TWO,
        SAYS_LITTLE, // one byte
        BURNS, // all the gas it is given
        ANSWERS_LONG, // true, and a megabyte more
        REVERTS_LONG,
        PAYS_AGAIN, // asks the payer to pay once more
        PAYS_ONE_AGAIN
    }

    uint256 private constant LONG = 1 << 20;

    Mood public mood;
    address public victim;
    uint256 public entered;

    constructor() LooseToken("Trouble", "TRB") {}

    receive() external payable {
        _act(msg.sender, address(this), msg.value);
    }

    function setMood(Mood mood_, address victim_) external {
        mood = mood_;
        victim = victim_;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        _move(msg.sender, to, amount);
        emit Transfer(msg.sender, to, amount);
        _act(msg.sender, to, amount);
        return true;
    }

    function _act(address payer, address to, uint256 amount) private {
        if (to != victim || mood == Mood.HONEST) return;
        if (mood == Mood.BURNS) while (true) {}
        if (mood == Mood.PAYS_AGAIN || mood == Mood.PAYS_ONE_AGAIN) {
            return _enter(payer, to, amount);
        }
        uint256 word = mood == Mood.SAYS_FALSE ? 0 : mood == Mood.SAYS_TWO ? 2 : 1;
        bool isLong = mood == Mood.ANSWERS_LONG || mood == Mood.REVERTS_LONG;
        uint256 size = mood == Mood.SAYS_LITTLE ? 1 : isLong ? LONG : 32;
        bool fails = mood == Mood.REVERTS || mood == Mood.REVERTS_LONG;
        assembly ("memory-safe") {
            mstore(0, word)
            if fails { revert(0, size) }
            return(0, size)
        }
    }

    function _enter(address payer, address to, uint256 amount) private {
        IBatchPayer.Item[] memory items = new IBatchPayer.Item[](1);
        items[0] = IBatchPayer.Item(to, amount);
        bytes memory data = mood == Mood.PAYS_AGAIN
            ? abi.encodeCall(IBatchPayer.pay, (address(this), 50_000, items))
            : abi.encodeCall(IBatchPayer.payOne, (address(this), to, amount));
        (bool success,) = payer.call(data);
        if (success) ++entered;
    }
}
