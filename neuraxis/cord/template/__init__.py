"""Registration to the PAM50 template, and what lies in it brought to the image."""
