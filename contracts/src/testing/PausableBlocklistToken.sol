// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LooseToken} from "./LooseToken.sol";

/// @title Its issuer stops everybody, or somebody
contract PausableBlocklistToken is LooseToken {
    event Paused(bool isPaused);
    event Blocked(address indexed owner, bool isBlocked);

    error TransfersArePaused();
    error OwnerIsBlocked(address owner);

    bool public isPaused;
    mapping(address owner => bool) public isBlocked;

    constructor() LooseToken("Pausable Token", "PAUSE") {}

    function setPaused(bool paused) external {
        isPaused = paused;
        emit Paused(paused);
    }

    function setBlocked(address owner, bool blocked) external {
        isBlocked[owner] = blocked;
        emit Blocked(owner, blocked);
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _transfer(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        _useAllowance(from, amount);
        return _transfer(from, to, amount);
    }

    function _transfer(address from, address to, uint256 amount) private returns (bool) {
        if (isPaused) revert TransfersArePaused();
        if (isBlocked[from]) revert OwnerIsBlocked(from);
        if (isBlocked[to]) revert OwnerIsBlocked(to);
        _move(from, to, amount);
        emit Transfer(from, to, amount);
        return true;
    }
}
