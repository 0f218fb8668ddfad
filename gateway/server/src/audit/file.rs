//! Goes through an export, a line at a time: a file of any size takes the same memory.

use std::fmt;
use std::io::BufRead;

use api::checkpoint::Checkpoint;
use domain::audit::walk::{Bad, Line, Place, Problem};
use serde::Deserialize;

/// Of a line, in bytes: an event's details are small.
const LONGEST: u64 = 8 << 20;

/// What a line can be.
#[derive(Deserialize)]
#[serde(untagged)]
enum Any {
    Event(Box<Line>),
    After(After),
    End(End),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    after: Place,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Null where there is none; always there.
    #[serde(deserialize_with = "Option::deserialize")]
    pub checkpoint: Option<Checkpoint>,
}

/// How it ended.
pub enum Verdict {
    Bad(Bad, Covers),
    Good(Covers),
    /// The events agree with each other, and a signature covers the first of them alone.
    Partly(Covers),
    /// The events agree with each other, and nothing that was signed covers them.
    Unsigned(Covers),
}

/// What was looked at, and what a signature stands for.
#[derive(Default)]
pub struct Covers {
    org: String,
    /// After which event the file begins, and the last one that is right.
    from: i64,
    to: i64,
    /// Up to which event it is signed, by the file's own checkpoint alone.
    signed: Option<u64>,
    own: bool,
}

impl Verdict {
    pub fn code(&self) -> u8 {
        match self {
            Self::Good(_) => 0,
            Self::Bad(..) => 1,
            Self::Partly(_) | Self::Unsigned(_) => 2,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Bad(_, covers) | Self::Good(covers) | Self::Partly(covers) | Self::Unsigned(covers)) =
            self;
        match self {
            Self::Bad(bad, _) => {
                let id =
                    bad.id.as_deref().map(|id| format!(" ({})", id.escape_default())).unwrap_or_default();
                writeln!(f, "NOT VALID: {} at event {}{id}", bad.problem.as_str(), bad.sequence)?;
            }
            Self::Good(_) => writeln!(f, "VALID: events {} to {}", covers.from + 1, covers.to)?,
            Self::Partly(_) => {
                writeln!(f, "NOT ALL SIGNED: the last events could have been written by anybody")?;
            }
            Self::Unsigned(_) => writeln!(f, "NOT SIGNED: no checkpoint covers any event of this file")?,
        }
        if covers.to > covers.from {
            writeln!(f, "Events {} to {} follow from each other.", covers.from + 1, covers.to)?;
        }
        if let Some(signed) = covers.signed {
            writeln!(f, "The signer has signed event {signed}, and with it all before.")?;
            if i64::try_from(signed).is_ok_and(|signed| signed < covers.to) {
                writeln!(f, "Not covered: events after {signed}.")?;
            }
        }
        if covers.from > 0 {
            writeln!(f, "Not covered: events 1 to {}, which are not in this file.", covers.from)?;
        }
        if covers.own {
            writeln!(
                f,
                "The checkpoint is the file's own: whoever cut the file could have put an older one. Give one that you have kept with --head."
            )?;
        }
        write!(f, "Organisation: {}", covers.org.escape_default())
    }
}

/// # Errors
/// If the file can't be read or is no export, or the checkpoint that was kept is not what it should be.
pub fn verify(mut file: Box<dyn BufRead>, key: &[u8], kept: Option<Checkpoint>) -> Result<Verdict, String> {
    if kept.as_ref().is_some_and(|kept| !kept.is_signed_by(key)) {
        return Err("the checkpoint given with --head is not signed by this key".into());
    }
    let mut walk =
        Walk { place: Place::genesis(), bad: None, kept, reached: false, covers: Covers::default() };
    let (mut number, mut text, mut end) = (0, Vec::new(), None);
    loop {
        text.clear();
        number += 1;
        let read = std::io::Read::take(&mut file, LONGEST).read_until(b'\n', &mut text);
        if read.map_err(|error| format!("the file can't be read: {error}"))? == 0 {
            break;
        }
        let Ok(line) = serde_json::from_slice(&text) else {
            if let Some(event) = edited(&text) {
                walk.bad.get_or_insert(event);
                continue;
            }
            return Err(format!(
                "line {number} is no line of an export: the file was cut or changed there, or is something else"
            ));
        };
        match line {
            _ if end.is_some() => return Err(format!("line {number} comes after the export's last line")),
            Any::Event(line) => walk.event(&line),
            Any::After(start) if number == 1 => walk.begin(start.after),
            Any::After(_) => return Err(format!("line {number} begins another export")),
            Any::End(last) => end = Some(last),
        }
    }
    walk.end(end, key)
}

/// An event with fields that none has, or without some that each has.
fn edited(text: &[u8]) -> Option<Bad> {
    let line: serde_json::Value = serde_json::from_slice(text).ok()?;
    let (sequence, _) = (line["sequence"].as_i64()?, line.get("integrity_hash")?);
    let id = line["id"].as_str().map(str::to_owned);
    Some(Bad { id, ..Bad::at(sequence, Problem::Edited) })
}

struct Walk {
    place: Place,
    bad: Option<Bad>,
    kept: Option<Checkpoint>,
    /// What was kept is what the file leads to.
    reached: bool,
    covers: Covers,
}

impl Walk {
    fn begin(&mut self, after: Place) {
        self.covers.from = after.sequence;
        self.place = after;
        self.pass();
    }

    fn event(&mut self, line: &Line) {
        if self.covers.org.is_empty() {
            self.covers.org.clone_from(&line.org_id);
        }
        match &mut self.bad {
            // It is not missing: it comes later.
            Some(bad) if bad.problem == Problem::Missing && bad.sequence == line.sequence => {
                *bad = Bad { id: Some(line.id.clone()), ..Bad::at(line.sequence, Problem::Reordered) };
            }
            Some(_) => {}
            None if line.org_id != self.covers.org => {
                self.bad =
                    Some(Bad { id: Some(line.id.clone()), ..Bad::at(line.sequence, Problem::Inserted) });
            }
            None => match self.place.step(line) {
                Ok(()) => self.pass(),
                Err(bad) => self.bad = Some(bad),
            },
        }
    }

    /// Comes by the checkpoint that was kept.
    fn pass(&mut self) {
        if let Some(kept) =
            self.kept.as_ref().filter(|kept| i64::try_from(kept.sequence) == Ok(self.place.sequence))
        {
            self.reached = kept.hash == self.place.hash;
            if !self.reached {
                self.bad = Some(Bad::at(self.place.sequence, Problem::CheckpointMismatch));
            }
        }
    }

    fn end(mut self, end: Option<End>, key: &[u8]) -> Result<Verdict, String> {
        self.covers.to = self.place.sequence;
        let (broke_off, own) = (end.is_none(), end.and_then(|end| end.checkpoint));
        if let Some(kept) = self.kept.as_ref().filter(|kept| !self.is_of(kept)) {
            return Err(format!(
                "the checkpoint given with --head is of another organisation: {}",
                kept.org_id
            ));
        }
        if let Some(bad) = self.bad.take().or_else(|| self.against_own(own.as_ref(), key)) {
            return Ok(Verdict::Bad(bad, self.covers));
        }
        let kept = self.kept.as_ref().map(|kept| kept.sequence);
        let beyond =
            kept.is_some_and(|kept| i64::try_from(kept).is_ok_and(|kept| kept > self.place.sequence));
        if beyond || broke_off {
            return Ok(Verdict::Bad(Bad::at(self.place.sequence + 1, Problem::CutOff), self.covers));
        }
        self.covers.own = !self.reached && own.is_some();
        self.covers.signed = own.map(|own| own.sequence).or(kept.filter(|_| self.reached));
        let up_to = self.covers.signed.and_then(|signed| i64::try_from(signed).ok());
        Ok(match up_to {
            Some(signed) if self.covers.to > self.covers.from && signed >= self.covers.to => {
                Verdict::Good(self.covers)
            }
            Some(signed) if signed > self.covers.from => Verdict::Partly(self.covers),
            _ => Verdict::Unsigned(self.covers),
        })
    }

    /// An export ends with the event that its checkpoint is about.
    fn against_own(&self, own: Option<&Checkpoint>, key: &[u8]) -> Option<Bad> {
        let own = own?;
        let last = self.place.sequence;
        // First whether the signer has said it at all.
        let said = own.is_signed_by(key) && self.is_of(own);
        let Some(sequence) = i64::try_from(own.sequence).ok().filter(|_| said) else {
            return Some(Bad::at(last, Problem::CheckpointMismatch));
        };
        if sequence == last && own.hash != self.place.hash {
            Some(Bad::at(sequence, Problem::CheckpointMismatch))
        } else if sequence > last {
            Some(Bad::at(last + 1, Problem::CutOff))
        } else if sequence < last {
            Some(Bad::at(sequence + 1, Problem::Inserted))
        } else {
            None
        }
    }

    /// A file without events is of anybody.
    fn is_of(&self, checkpoint: &Checkpoint) -> bool {
        self.covers.org.is_empty() || self.covers.org == checkpoint.org_id.to_string()
    }
}
