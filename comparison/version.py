"""The version of Photofinish, as it stands in every export."""

VERSION = "0.1.0"
