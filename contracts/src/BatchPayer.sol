// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ERC1155Holder} from "@openzeppelin/contracts/token/ERC1155/utils/ERC1155Holder.sol";
import {ERC721Holder} from "@openzeppelin/contracts/token/ERC721/utils/ERC721Holder.sol";
import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title Many payments in one transaction, each for itself
/// @notice An account of ours runs this code (EIP-7702). Only the account itself can ask it to pay:
/// by a transaction from itself to itself, signed by its key.
interface IBatchPayer {
    struct Item {
        address to;
        uint256 amount; // smallest units of the asset
    }

    /// @notice The item at a place arrived.
    event ItemPaid(uint256 indexed place, address indexed to, uint256 amount);
    /// @notice The item at a place did not: nothing that its payment did remains.
    event ItemFailed(uint256 indexed place, address indexed to, uint256 amount);

    error NotTheAccount(address caller);
    error TooManyItems(uint256 count);
    /// @notice Less gas is left than an item may use: nothing at all is paid.
    error TooLittleGas(uint256 place, uint256 left, uint256 needed);
    error PaymentFailed(address to);

    /// @notice Pay items one after another; one that fails undoes no other.
    /// @param token The asset, or zero for native coin.
    /// @param itemGas Most gas that one payment may use, whatever its recipient or the token does.
    /// @return paid A bit for every item that arrived, the first one lowest.
    function pay(address token, uint256 itemGas, Item[] calldata items)
        external
        returns (uint256 paid);

    /// @notice Pay one item or revert. Only pay calls it: a failed payment leaves nothing behind.
    function payOne(address token, address to, uint256 amount) external;
}

/// @title The code that an account runs to pay many at once
/// @dev No storage, no owner, no assembly of its own: running it touches nothing an account keeps.
contract BatchPayer is IBatchPayer, IERC1271, ERC721Holder, ERC1155Holder {
    using SafeERC20 for IERC20;

    uint256 private constant MAX_ITEMS = 256; // bits of an answer
    uint256 private constant SPARE_GAS = 12_000; // of the loop and its event, with room

    modifier onlyTheAccount() {
        if (msg.sender != address(this)) revert NotTheAccount(msg.sender);
        _;
    }

    /// @notice Accept native coin, as an account without code does.
    receive() external payable {}

    /// @notice Accept native coin that comes with data, as an account without code does.
    fallback() external payable {}

    /// @inheritdoc IBatchPayer
    function pay(address token, uint256 itemGas, Item[] calldata items)
        external
        onlyTheAccount
        returns (uint256 paid)
    {
        if (items.length > MAX_ITEMS) revert TooManyItems(items.length);
        // A call gets at most 63/64 of what is left (EIP-150), and a bound that is not whole could
        // fail an item that is not to blame.
        uint256 needed = itemGas + itemGas / 63 + SPARE_GAS;
        for (uint256 place = 0; place < items.length; ++place) {
            Item calldata item = items[place];
            if (gasleft() < needed) revert TooLittleGas(place, gasleft(), needed);
            try this.payOne{gas: itemGas}(token, item.to, item.amount) {
                paid |= 1 << place;
                emit ItemPaid(place, item.to, item.amount);
            } catch {
                emit ItemFailed(place, item.to, item.amount);
            }
        }
    }

    /// @inheritdoc IBatchPayer
    function payOne(address token, address to, uint256 amount) external onlyTheAccount {
        bool isPaid = token == address(0)
            ? LowLevelCall.callNoReturn(to, amount, "")
            : IERC20(token).trySafeTransfer(to, amount);
        if (!isPaid) revert PaymentFailed(to);
    }

    /// @inheritdoc IERC1271
    /// @dev The account's own key signs for it, as before it ran any code.
    function isValidSignature(bytes32 hash, bytes calldata signature)
        external
        view
        returns (bytes4)
    {
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecover(hash, signature);
        bool isOurs = failure == ECDSA.RecoverError.NoError && signer == address(this);
        return isOurs ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}
