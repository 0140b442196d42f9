"""Every study of an archive, on one machine or on a Ray cluster, with a Parquet manifest of what became of each.

An archive is a folder, a place in an object store (any fsspec URL) or a DICOMweb service. Its entries, which are
studies or folders of studies, are listed, divided among shards, and given to workers; a worker segments an entry with
`swinunet.client`. The driver alone writes the manifest.
"""
