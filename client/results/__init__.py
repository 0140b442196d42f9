"""Results of a job: DICOM SEG, overlay, report, and what the values of a mask mean."""
