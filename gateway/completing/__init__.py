"""When a study is complete: silence, the end of associations, a PACS's own count, and a longest wait."""
