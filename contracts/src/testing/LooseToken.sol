// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The common ground of the badly behaved tokens
/// @notice Anyone mints: only for tests. A child says what `transfer` really does.
abstract contract LooseToken {
    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    error BalanceTooSmall(address owner, uint256 balance, uint256 wanted);
    error AllowanceTooSmall(address owner, address spender, uint256 wanted);

    string public name;
    string public symbol;
    uint8 public constant decimals = 6;
    uint256 public totalSupply;

    mapping(address owner => uint256) internal _balances;
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    constructor(string memory name_, string memory symbol_) {
        name = name_;
        symbol = symbol_;
    }

    function mint(address to, uint256 amount) external virtual {
        totalSupply += amount;
        _balances[to] += amount;
        emit Transfer(address(0), to, amount);
    }

    function balanceOf(address owner) public view virtual returns (uint256) {
        return _balances[owner];
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        emit Approval(msg.sender, spender, amount);
        return true;
    }

    /// @dev Moves without an event.
    function _move(address from, address to, uint256 amount) internal {
        uint256 balance = _balances[from];
        if (balance < amount) revert BalanceTooSmall(from, balance, amount);
        _balances[from] = balance - amount;
        _balances[to] += amount;
    }

    function _useAllowance(address owner, uint256 amount) internal {
        uint256 allowed = allowance[owner][msg.sender];
        if (allowed < amount) revert AllowanceTooSmall(owner, msg.sender, amount);
        allowance[owner][msg.sender] = allowed - amount;
    }
}
