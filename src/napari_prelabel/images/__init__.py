"""Any picture file or array -> planes that the models see."""
