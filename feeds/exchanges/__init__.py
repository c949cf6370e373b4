"""The exchanges: bytes in; quotes, replies and refusals out. One file each, and the contract that they share."""
