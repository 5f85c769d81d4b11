"""The native core: C++ headers, their binding, and the engine over it."""
