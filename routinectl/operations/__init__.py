"""What a person may ask for, one file each: values in, values out."""
