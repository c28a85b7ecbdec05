"""Stores what a run leaves behind: the journal and the samples."""

from twin.historian.files import JournalFile, ResultsWriteError, SampleFile, write_json, write_text

__all__ = ["JournalFile", "ResultsWriteError", "SampleFile", "write_json", "write_text"]
