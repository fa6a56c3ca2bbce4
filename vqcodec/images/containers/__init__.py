"""What picture files hold beside the pixels that Pillow decodes: one module for each kind of container.

Pillow decodes pixels.  Of metadata, colours and depths its readers keep only a part, and a defect there costs them the
pixels.  So those are read here from the bytes, and Pillow gets the file without them where it would stumble.
"""
