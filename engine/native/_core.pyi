"""The native module: bytes in, bytes out."""

Buffer = bytes | bytearray | memoryview
Counters = tuple[int, int, int, int, int, int]

RECORD_VERSION: int
RECORD_BYTES: int
BATCH_MAX: int
MARKET_BYTES: int

class Image:
    @property
    def counters(self) -> Counters: ...
    def read(self, kind: int, first: int, count: int, /) -> bytes: ...

class Core:
    def __init__(
        self,
        open_orders: int,
        open_orders_per_customer: int,
        remembered_orders: int,
        levels_per_side: int,
        /,
    ) -> None: ...
    def apply_records(self, records: Buffer, *, first_sequence: int, time_ns: int) -> bytes:
        """Apply command records and return event records. Corrupt: none was applied."""
    def check_records(self, records: Buffer, *, first_sequence: int, time_ns: int) -> None:
        """Return when apply_records would take these. Corrupt: no. Unavailable: no room."""
    def has_room(self, commands: int, /) -> bool:
        """Return whether memory for so many commands more is there, whatever they cause."""
    def reserve(self, orders: int, /) -> bool:
        """Take memory for so many more orders now. False: there is not so much."""
    def load_rows(self, dump: Buffer, /) -> None:
        """Take the rows of a dump whose header is sound. Corrupt: this engine is spoilt."""
    def image(self) -> Image:
        """Return a copy of the state."""
    def order_of(self, customer_no: int, client_low: int, client_high: int, /) -> int:
        """Return the order of a client id, 0 when it is not remembered."""
    def levels(self, market_no: int, side: int, most: int, /) -> bytes:
        """Return the indexes of the best levels."""
    def read(self, kind: int, first: int, count: int, /) -> bytes:
        """Return so many entries of engine.native.state.Kind, or as many as there are."""
    @property
    def counters(self) -> Counters: ...
    @property
    def sequence(self) -> int: ...
    @property
    def time_ns(self) -> int: ...
    @property
    def funding_number(self) -> int: ...
    @property
    def config_sequence(self) -> int: ...
