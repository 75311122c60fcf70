"""Speed against peers: the same network trained by digits and by others, side by side in one run."""
