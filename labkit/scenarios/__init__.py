"""What labs share: the scenes they play in, and the one-off work behind them."""
