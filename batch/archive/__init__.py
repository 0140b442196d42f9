"""Where studies come from: a folder, an object store, a DICOMweb service."""
