// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

interface IAnyToken {
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// @title Pays native coin and tokens from inside calls, where no top-level value is to be seen
contract Payer {
    error PaymentFailed(address to);
    error MeantToFail();
    error OnlyItself();

    receive() external payable {}

    /// @notice Pay each address its amount out of what came with the call.
    function pay(address[] calldata to, uint256[] calldata amounts) external payable {
        for (uint256 i = 0; i < to.length; i++) _pay(to[i], amounts[i]);
    }

    /// @notice Pay each address its amount of token out of the caller's allowance.
    function payToken(address token, address[] calldata to, uint256[] calldata amounts) external {
        for (uint256 i = 0; i < to.length; i++) {
            bool ok = IAnyToken(token).transferFrom(msg.sender, to[i], amounts[i]);
            if (!ok) revert PaymentFailed(to[i]);
        }
    }

    /// @notice Pay through depth nested frames.
    function payDeep(address to, uint256 amount, uint256 depth) external payable {
        if (depth == 0) _pay(to, amount);
        else this.payDeep{value: amount}(to, amount, depth - 1);
    }

    /// @notice Pay kept for good, and undone in a frame that reverts; the transaction succeeds.
    function payOneAndUndoOne(address kept, address undone, uint256 amount) external payable {
        _pay(kept, amount);
        try this.payThenRevert{value: amount}(undone, amount) {
            assert(false);
        } catch (bytes memory) {}
    }

    /// @notice Pay inside a frame that reverts; the transaction succeeds and nobody was paid.
    function payInsideARevertingFrame(address to, uint256 amount) external payable {
        try this.payThenRevert{value: amount}(to, amount) {
            assert(false);
        } catch (bytes memory) {}
    }

    /// @notice As above, with a frame that succeeds inside the one that reverts.
    function paySucceedingInsideReverting(address to, uint256 amount) external payable {
        try this.payDeepThenRevert{value: amount}(to, amount) {
            assert(false);
        } catch (bytes memory) {}
    }

    /// @notice Pay, then revert: called directly the whole transaction fails.
    function payThenRevert(address to, uint256 amount) external payable {
        _pay(to, amount);
        revert MeantToFail();
    }

    function payDeepThenRevert(address to, uint256 amount) external payable {
        if (msg.sender != address(this)) revert OnlyItself();
        this.payDeep{value: amount}(to, amount, 2);
        revert MeantToFail();
    }

    function _pay(address to, uint256 amount) private {
        (bool ok,) = to.call{value: amount}("");
        if (!ok) revert PaymentFailed(to);
    }
}
