"""Policy: who may move what, how much, and who must agree. Pure: no database, node or clock."""
