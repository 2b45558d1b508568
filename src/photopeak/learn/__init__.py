"""What training needs: feed, loop, checkpoint, moving average."""
