"""The report on logical access (SOC 2, CC6): gathered from verified exports of the log, and shown as a page."""
