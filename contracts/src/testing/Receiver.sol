// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A destination that makes trouble when native coin arrives
contract Receiver {
    enum Mood {
        ACCEPTS,
        REFUSES, // reverts
        BURNS, // spends all the gas it is given
        WRITES // needs more than a plain transfer's 21000 + 2300
    }

    error Refused();

    Mood public mood;
    uint256 public received;

    constructor(Mood mood_) {
        mood = mood_;
    }

    receive() external payable {
        if (mood == Mood.REFUSES) revert Refused();
        if (mood == Mood.BURNS) while (true) {}
        if (mood == Mood.WRITES) received += msg.value;
    }

    function setMood(Mood mood_) external {
        mood = mood_;
    }
}
