//! Table options as the manifest writes them; the layout is on the page of `edit`.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, TryGetError};

use crate::table_options::{Scaling, Strategy, TableOptions, TimeWindow, Unified};

const UNIFIED: u8 = 1;
const TIME_WINDOW: u8 = 2;

pub(super) fn encode(options: &TableOptions, out: &mut Vec<u8>) {
    out.put_u64_le(micros(options.gc_grace));
    match &options.strategy {
        Strategy::Unified(Unified { scaling, target_bytes, min_bytes, base_shards }) => {
            out.put_u8(UNIFIED);
            // At most 32.
            out.put_u8(scaling.parameters().len() as u8);
            scaling.parameters().iter().for_each(|&w| out.put_i32_le(w));
            out.put_u64_le(*target_bytes);
            out.put_u64_le(*min_bytes);
            out.put_u32_le(*base_shards);
        }
        Strategy::TimeWindow(TimeWindow { window, min_tables }) => {
            out.put_u8(TIME_WINDOW);
            out.put_u64_le(micros(*window));
            out.put_u32_le(*min_tables);
        }
    }
}

/// `None` for options that this build does not know.
pub(super) fn decode(input: &mut Bytes) -> Result<Option<TableOptions>, TryGetError> {
    let gc_grace = Duration::from_micros(input.try_get_u64_le()?);
    let strategy = match input.try_get_u8()? {
        UNIFIED => {
            let levels = input.try_get_u8()?;
            let parameters = (0..levels).map(|_| input.try_get_i32_le()).collect::<Result<_, _>>()?;
            let Some(scaling) = Scaling::new(parameters) else { return Ok(None) };
            Strategy::Unified(Unified {
                scaling,
                target_bytes: input.try_get_u64_le()?,
                min_bytes: input.try_get_u64_le()?,
                base_shards: input.try_get_u32_le()?,
            })
        }
        TIME_WINDOW => Strategy::TimeWindow(TimeWindow {
            window: Duration::from_micros(input.try_get_u64_le()?),
            min_tables: input.try_get_u32_le()?,
        }),
        _ => return Ok(None),
    };
    Ok(Some(TableOptions { strategy, gc_grace }))
}

/// Rounded: what is longer than half a million years is for ever.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
