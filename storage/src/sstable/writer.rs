//! Writes one table.

use std::{
    fmt, mem,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    FileId, KeyHash, LogSpan, Stats, TableFile, block::BlockBuilder, file, filter::Filter, footer::Footer,
    index::IndexBuilder, section,
};
use crate::{
    disk::{Disk, DiskFile},
    error::{Error, Result, SYNC_DIRECTORY},
    options::{Compression, Options},
    record::Record,
};

/// Values of a block's compression byte.
pub(super) const STORED: u8 = 0;
pub(super) const LZ4: u8 = 1;

/// Largest key plus record: far above any mutation, far below what the format's 32-bit lengths can say.
const MAX_ENTRY_BYTES: usize = 1 << 30;

/// Bytes collected before they are written to the file.
const WRITE_BUFFER_BYTES: usize = 256 << 10;
/// Bytes that are worth a sync of their own while there is time for it.
const SYNCED_AT_ONCE: u64 = 4 << 20;

/// Writes one SSTable under a temporary name; [`TableWriter::finish`] makes it durable and gives it its name.
pub struct TableWriter {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    id: FileId,
    block_bytes: usize,
    compression: Compression,
    false_positive_rate: f64,
    file: Arc<dyn DiskFile>,
    temporary: PathBuf,
    /// Bytes of the file that are written.
    written: u64,
    /// Those of them that are on disk.
    synced: u64,
    /// Bytes of the blocks' contents before compression.
    contents: u64,
    /// Bytes that follow them.
    buffer: Vec<u8>,
    block: BlockBuilder,
    /// The contents of the block before: room for those of the next.
    finished: Vec<u8>,
    index: IndexBuilder,
    hashes: Vec<KeyHash>,
    log: Option<LogSpan>,
    /// `None` before the first record.
    stats: Option<Stats>,
    last_key: Vec<u8>,
}

impl TableWriter {
    /// The name of a table file that is not complete yet.
    pub(crate) fn temporary_name(id: FileId) -> String {
        file::temporary_name(id)
    }

    /// Starts a table file in `directory`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(disk: Arc<dyn Disk>, directory: &Path, id: FileId, options: &Options) -> Result<Self> {
        let temporary = directory.join(file::temporary_name(id));
        let file =
            disk.create(&temporary).map_err(|error| Error::new_file("create SSTable", &temporary, error))?;
        Ok(Self {
            disk,
            directory: directory.to_owned(),
            id,
            block_bytes: options.block_bytes.min(MAX_ENTRY_BYTES),
            compression: options.compression,
            false_positive_rate: options.bloom_fp_rate,
            file,
            temporary,
            written: 0,
            synced: 0,
            contents: 0,
            buffer: Vec::new(),
            block: BlockBuilder::new(options.restart_interval),
            finished: Vec::new(),
            index: IndexBuilder::default(),
            hashes: Vec::new(),
            log: None,
            stats: None,
            last_key: Vec::new(),
        })
    }

    /// Notes that records of this part of the commit log go into the table, besides what was noted before.
    pub fn cover_log(&mut self, span: LogSpan) {
        self.log = Some(self.log.map_or(span, |known| known.union(span)));
    }

    /// Bytes of the file so far: those of the blocks that are complete.
    pub fn bytes(&self) -> u64 {
        self.offset()
    }

    /// Appends a record. Keys must be strictly ascending.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] for a key that does not ascend and [`Error::MutationTooLarge`] for
    /// more than a block can hold, both before anything changed.
    pub fn add(&mut self, key: &[u8], record: &Record) -> Result<()> {
        let size_bytes = key.len().saturating_add(record.encoded_len());
        if size_bytes > MAX_ENTRY_BYTES {
            return Err(Error::MutationTooLarge { size_bytes, limit_bytes: MAX_ENTRY_BYTES });
        }
        if self.stats.is_some() && key <= self.last_key.as_slice() {
            return Err(Error::Malformed { what: "the keys of an SSTable do not ascend" });
        }
        // A record that fills a block gets one of its own, so that reading a small neighbour does not mean
        // reading (and keeping in memory) the large one.
        if !self.block.is_empty() && self.block.len() + size_bytes > self.block_bytes {
            self.finish_block()?;
        }
        self.stats.get_or_insert_with(|| Stats::starting_at(key)).count(key, record);
        self.hashes.push(KeyHash::of(key));
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.block.add(key, record);
        if self.block.len() >= self.block_bytes { self.finish_block() } else { Ok(()) }
    }

    /// Has the disk write what it was given so far, if that is much: so it is not asked for all at once in the end.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::StorageFull`].
    pub(crate) fn sync_so_far(&mut self) -> Result<()> {
        if self.written - self.synced < SYNCED_AT_ONCE {
            return Ok(());
        }
        self.file.sync_data().map_err(|error| Error::new_file("sync", &self.temporary, error))?;
        self.synced = self.written;
        Ok(())
    }

    /// Writes filter, index, statistics and footer, syncs the file, renames it and syncs the directory. `None`
    /// when nothing was added (then no file remains).
    ///
    /// # Errors
    /// [`Error::Io`]; the temporary file may remain and is an orphan.
    pub fn finish(mut self) -> Result<Option<TableFile>> {
        let Some(mut stats) = self.stats.take() else {
            let removed = self.disk.remove(&self.temporary);
            removed.map_err(|error| Error::io("remove", &self.temporary, error))?;
            return Ok(None);
        };
        if !self.block.is_empty() {
            self.finish_block()?;
        }
        stats.last_key = Bytes::from(mem::take(&mut self.last_key));
        (stats.blocks_bytes, stats.contents_bytes, stats.log) = (self.offset(), self.contents, self.log);
        let filter = Filter::build(&self.hashes, self.false_positive_rate)?;
        let index = mem::take(&mut self.index);
        let footer = Footer {
            id: self.id,
            index_offset: self.section(|out| index.encode(out)),
            filter_offset: self.section(|out| filter.encode(out)),
            stats_offset: self.section(|out| stats.encode(out)),
        };
        let offset = self.offset();
        footer.encode(&mut self.buffer, offset);
        self.flush()?;
        self.publish()?;
        Ok(Some(TableFile { id: self.id, length_bytes: self.written }))
    }

    /// Bytes before the name, the name before anyone is told: the order that makes a table under its final name
    /// complete and, once this returns, there to stay.
    fn publish(&self) -> Result<()> {
        let path = self.directory.join(file::name(self.id));
        self.file.sync_all().map_err(|error| Error::new_file("sync", &self.temporary, error))?;
        let renamed = self.disk.rename(&self.temporary, &path);
        renamed.map_err(|error| Error::new_file("rename", &self.temporary, error))?;
        let synced = self.disk.sync_dir(&self.directory);
        synced.map_err(|error| Error::io(SYNC_DIRECTORY, &self.directory, error))
    }

    fn finish_block(&mut self) -> Result<()> {
        let (start, offset) = (self.buffer.len(), self.offset());
        let contents = &mut self.finished;
        self.block.finish(contents);
        self.contents += contents.len() as u64;
        let compression = match self.compression {
            Compression::Lz4 => compress(contents, &mut self.buffer),
            Compression::None => store(contents, &mut self.buffer),
        };
        self.buffer.push(compression);
        self.buffer.extend_from_slice(&(contents.len() as u32).to_le_bytes());
        section::seal(&mut self.buffer, start, self.id, offset);
        self.index.add(&self.last_key, (self.buffer.len() - start) as u32);
        if self.buffer.len() >= WRITE_BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Appends a part of the file with its checksum and gives its offset.
    fn section(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let (start, offset) = (self.buffer.len(), self.offset());
        encode(&mut self.buffer);
        section::seal(&mut self.buffer, start, self.id, offset);
        offset
    }

    fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn flush(&mut self) -> Result<()> {
        let written = self.file.write_all_at(&self.buffer, self.written);
        written.map_err(|error| Error::new_file("write", &self.temporary, error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl fmt::Debug for TableWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("TableWriter");
        debug.field("temporary", &self.temporary).field("records", &self.hashes.len()).finish_non_exhaustive()
    }
}

/// Appends the contents of a block, compressed if that saves an eighth of them; else unpacking is not worth it.
fn compress(contents: &[u8], out: &mut Vec<u8>) -> u8 {
    let start = out.len();
    out.resize(start + lz4_flex::block::get_maximum_output_size(contents.len()), 0);
    match lz4_flex::block::compress_into(contents, &mut out[start..]) {
        Ok(packed) if packed <= contents.len() - contents.len() / 8 => {
            out.truncate(start + packed);
            LZ4
        }
        _ => {
            out.truncate(start);
            store(contents, out)
        }
    }
}

fn store(contents: &[u8], out: &mut Vec<u8>) -> u8 {
    out.extend_from_slice(contents);
    STORED
}
