"""Images that come with a package, for demo, export and benchmark: the MNI152 brain, as volume and as DICOM series."""
