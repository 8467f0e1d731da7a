//! Scrape pools, the schedule, limits, staleness, reports
