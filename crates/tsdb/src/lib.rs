//! The time-series database: chunk codecs, write-ahead log, head
