// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Emits logs that look like a token's transfer until one reads them closely
/// @notice Solidity writes only well-formed events, hence the assembly.
contract OddLogs {
    bytes32 private constant TRANSFER = keccak256("Transfer(address,address,uint256)");

    error TooManyTopics(uint256 count);

    /// @notice Four topics, no data: a collectible's transfer, tokenId where an amount would be.
    function fourTopics(address from, address to, uint256 tokenId) external {
        bytes32[] memory topics = new bytes32[](4);
        (topics[0], topics[1], topics[2]) = (TRANSFER, _topic(from), _topic(to));
        topics[3] = bytes32(tokenId);
        _emit(topics, "");
    }

    /// @notice Three topics, but the amount fills only length bytes (32 would be right).
    function dataOfLength(address from, address to, uint256 length) external {
        bytes32[] memory topics = new bytes32[](3);
        (topics[0], topics[1], topics[2]) = (TRANSFER, _topic(from), _topic(to));
        bytes memory data = new bytes(length);
        if (length > 0) data[length - 1] = 0x01;
        _emit(topics, data);
    }

    /// @notice Three topics, 32 bytes, and dirt above the recipient's 160 bits.
    function dirtyRecipient(address from, address to, uint256 amount) external {
        bytes32[] memory topics = new bytes32[](3);
        (topics[0], topics[1]) = (TRANSFER, _topic(from));
        topics[2] = _topic(to) | bytes32(uint256(1) << 200);
        _emit(topics, abi.encode(amount));
    }

    /// @notice One topic, everything in the data: a transfer with nothing indexed.
    function nothingIndexed(address from, address to, uint256 amount) external {
        bytes32[] memory topics = new bytes32[](1);
        topics[0] = TRANSFER;
        _emit(topics, abi.encode(from, to, amount));
    }

    /// @notice Any log at all.
    function raw(bytes32[] memory topics, bytes memory data) external {
        _emit(topics, data);
    }

    function _topic(address account) private pure returns (bytes32) {
        return bytes32(uint256(uint160(account)));
    }

    function _emit(bytes32[] memory t, bytes memory data) private {
        if (t.length > 4) revert TooManyTopics(t.length);
        assembly ("memory-safe") {
            let start := add(data, 32)
            let size := mload(data)
            switch mload(t)
            case 0 { log0(start, size) }
            case 1 { log1(start, size, mload(add(t, 32))) }
            case 2 { log2(start, size, mload(add(t, 32)), mload(add(t, 64))) }
            case 3 { log3(start, size, mload(add(t, 32)), mload(add(t, 64)), mload(add(t, 96))) }
            default {
                log4(
                    start,
                    size,
                    mload(add(t, 32)),
                    mload(add(t, 64)),
                    mload(add(t, 96)),
                    mload(add(t, 128))
                )
            }
        }
    }
}
