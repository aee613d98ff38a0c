"""Where runs happen: a dask client on this side, a process that holds the engine on the other."""
