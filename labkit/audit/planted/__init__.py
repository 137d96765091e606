"""Wrong pieces of DP-SGD, by what is wrong with them: noise, clipping, sampling. `labkit.audit.planted_bugs` lists all."""
