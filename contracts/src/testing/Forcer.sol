// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Forces native coin on an address without calling it
/// @notice Its constructor destroys it: the coin arrives though the address never ran code.
contract Forcer {
    constructor(address payable to) payable {
        selfdestruct(to);
    }
}

/// @title Makes Forcers, so that the force lies in an inner frame
contract ForcerMaker {
    event Forced(address indexed forcer);

    function force(address payable to) external payable {
        emit Forced(address(new Forcer{value: msg.value}(to)));
    }
}
