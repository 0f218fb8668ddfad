// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

interface Coins {
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// Fails in every way that there is.
contract Refuses {
    error TooLate(uint256 by);
    error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);

    function withWords() external pure {
        revert("not today");
    }

    function withFault(uint256 n) external pure returns (uint256) {
        return 1 / n;
    }

    function withItsOwn() external pure {
        revert TooLate(5);
    }

    function withACommonOne() external view {
        revert ERC20InsufficientBalance(msg.sender, 1, 2);
    }

    function withoutAWord() external pure {
        revert();
    }

    function withoutEnd() external pure {
        uint256 n;
        while (true) {
            unchecked {
                n++;
            }
        }
    }
}

/// Takes coins that were approved before, and gives ether for them.
contract Shop {
    receive() external payable {}

    function sell(Coins coin, uint256 value) external {
        coin.transferFrom(msg.sender, address(this), value);
        payable(msg.sender).transfer(1 gwei);
    }
}

/// Honest while it is simulated: nobody pays for gas then. Executed, it keeps what it gets.
contract TwoFaced {
    function keepSafe() external payable {
        if (tx.gasprice == 0) {
            payable(msg.sender).transfer(msg.value);
        }
    }
}
