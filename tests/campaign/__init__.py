"""Long runs that `make campaign` starts; `make test` runs small ones of the same kinds."""
