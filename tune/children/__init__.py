"""A folder for the import path of training code, where nothing but `tune` is found."""
