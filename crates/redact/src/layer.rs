//! One text, looked at as it is, and taken apart where it may hold another one.
//!
//! A layer receives its text in pieces. It looks for what is known, as it stands; then everything that may be an encoding of
//! another text (neighbourhoods of escapes, runs of base64 and hex, compressed members) is undone and becomes a
//! layer of its own. What may go on in the next piece is held back, or, if it is long, goes on being undone
//! as the pieces arrive. So a text may be as large as it likes, and where it is cut changes nothing.
//!
//! Limits: a reversed member is seen as far back as the layer remembers, which is [`MEMORY`].

use std::ops::Range;

use crate::encoding::Encoding;
use crate::engine::{Engine, Walk};
use crate::escapes::{Charset, Family, LONGEST, has_latin1, unescape};
use crate::findings::{Path, Raw, Reason};
use crate::interest::Escape;
use crate::members::{self, Decoder, Magic, Start};
use crate::runs::{Alphabet, Run, continued, line_before, next_run};

/// How much of a text is looked at in one go.
pub(crate) const PIECE: usize = 256 * 1024;
/// How much is kept of what was looked at.
const MEMORY: usize = 4 * 1024;
/// Up to so much, something unfinished is held back until its end is known.
const HOLD: usize = 64 * 1024;
/// How much is unpacked in one go.
const UNPACK: usize = 64 * 1024;
const ALPHABETS: [Alphabet; 2] = [Alphabet::Base64, Alphabet::Hex];

pub(crate) struct Layer {
    path: Path,
    depth: usize,
    /// What was kept, and what came since.
    buffer: Vec<u8>,
    /// Of the buffer's first byte.
    base: u64,
    /// Up to where the text was looked at as it is.
    seen: u64,
    zones: [Zones; Family::ALL.len()],
    runs: [Runs; ALPHABETS.len()],
    members_from: u64,
    member: Option<Box<Member>>,
}

/// How far one family of escapes was undone.
#[derive(Default)]
struct Zones {
    from: u64,
    open: Option<Box<Layer>>,
}

/// How far the runs of one alphabet were undone.
#[derive(Default)]
struct Runs {
    from: u64,
    open: Option<Vec<Phase>>,
}

/// A decoding of a run from one of its first characters on.
struct Phase {
    layer: Layer,
    rest: Vec<u8>,
}

/// A member that is being unpacked.
struct Member {
    step: Encoding,
    decoder: Decoder,
    start: u64,
    /// Bytes of header that are still to be passed over.
    skip: usize,
    read: u64,
    unpacked: u64,
    layer: Layer,
}

enum Unpacked {
    /// It goes on after what was given.
    Open,
    /// It ended after so many bytes of what was given.
    Ended(usize),
    /// It was none, or is damaged.
    Failed,
    /// A limit was hit.
    Stopped,
}

impl Layer {
    pub(crate) fn new(path: Path, depth: usize) -> Self {
        Self {
            path,
            depth,
            buffer: Vec::new(),
            base: 0,
            seen: 0,
            zones: Default::default(),
            runs: Default::default(),
            members_from: 0,
            member: None,
        }
    }

    fn inner(&self, steps: &[Encoding]) -> Self {
        Self::new(self.path.then(steps), self.depth + 1)
    }

    /// Room for `more` bytes behind what has come so far.
    pub(crate) fn room(&mut self, more: usize) -> &mut [u8] {
        let filled = self.buffer.len();
        self.buffer.resize(filled + more, 0);
        &mut self.buffer[filled..]
    }

    /// Of the room, so many bytes were not used.
    pub(crate) fn unused(&mut self, bytes: usize) {
        self.buffer.truncate(self.buffer.len() - bytes);
    }

    /// Looks at the whole of a text.
    pub(crate) fn whole(mut self, walk: &mut Walk<'_>, text: &[u8]) {
        for piece in text.chunks(PIECE) {
            let last = piece.as_ptr_range().end == text.as_ptr_range().end;
            if last && self.base == 0 && self.buffer.is_empty() {
                self.look(walk, text, true);
                return;
            }
            self.room(piece.len()).copy_from_slice(piece);
            self.advance(walk, last);
        }
    }

    /// Looks at what has come since the last time. `last`: nothing more will come.
    pub(crate) fn advance(&mut self, walk: &mut Walk<'_>, last: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let keep_from = self.look(walk, &buffer, last);
        buffer.copy_within(keep_from.., 0);
        buffer.truncate(buffer.len() - keep_from);
        self.base += keep_from as u64;
        self.buffer = buffer;
    }

    /// Looks at `view`, which begins at `base`, and says from where on it must be seen again.
    fn look(&mut self, walk: &mut Walk<'_>, view: &[u8], last: bool) -> usize {
        self.look_as_it_is(walk, view);
        let mut keep_from = view.len().saturating_sub(MEMORY.max(walk.engine.reach()));
        for (index, family) in Family::ALL.into_iter().enumerate() {
            keep_from = keep_from.min(self.undo_escapes(walk, view, last, index, family));
        }
        for (index, alphabet) in ALPHABETS.into_iter().enumerate() {
            keep_from = keep_from.min(self.undo_runs(walk, view, last, index, alphabet));
        }
        self.unpack_members(walk, view, last);
        keep_from
    }

    fn place(&self, at: usize) -> u64 {
        self.base + at as u64
    }

    fn places(&self, range: &Range<usize>) -> Range<u64> {
        self.place(range.start)..self.place(range.end)
    }

    fn within(&self, at: u64) -> usize {
        usize::try_from(at.saturating_sub(self.base)).unwrap_or(usize::MAX)
    }

    fn look_as_it_is(&mut self, walk: &mut Walk<'_>, view: &[u8]) {
        let engine = walk.engine;
        let seen = self.within(self.seen);
        let (path, base) = (self.path, self.base);
        engine.find(view, seen, &mut |what, steps, range| {
            let places = base + range.start as u64..base + range.end as u64;
            walk.told.hit(Raw { what, path: path.then(steps), outer: places.clone(), inner: places });
        });
        self.seen = self.place(view.len());
    }

    /// Whether there is room and depth for another layer below this one; if not, that is told.
    fn may_open(&self, walk: &mut Walk<'_>, range: &Range<usize>) -> bool {
        if self.depth >= walk.engine.limits.depth {
            walk.told.unseen(self.places(range), self.path, Reason::TooDeep);
            return false;
        }
        if walk.is_spent() {
            walk.told.unseen(self.places(range), self.path, Reason::TooMuchWork);
            return false;
        }
        !walk.told.is_full()
    }
}

/// Escapes.
impl Layer {
    fn undo_escapes(&mut self, walk: &mut Walk<'_>, view: &[u8], last: bool, index: usize, family: Family) -> usize {
        let engine = walk.engine;
        let mut from = self.within(self.zones[index].from);
        let mut open = self.zones[index].open.take();
        loop {
            let next = engine.interest.next(view, from, family);
            let Some((zone, backwards)) = zone(engine, view, from, next, open.is_some(), family) else { break };
            let unfinished = zone.end > view.len() && !last;
            let zone = zone.start..zone.end.min(view.len());
            if unfinished && open.is_none() && zone.len() <= HOLD {
                self.zones[index].from = self.place(zone.start);
                return zone.start;
            }
            if unfinished || open.is_some() {
                let end = if unfinished { escape_free_end(view, zone.start, family) } else { zone.end };
                open = self.stream_zone(walk, view, zone.start..end, family, open, !unfinished);
                from = end;
                if unfinished {
                    self.zones[index] = Zones { from: self.place(from), open };
                    return from;
                }
            } else {
                self.undo_zone(walk, view, &zone, family, backwards);
                from = zone.end;
            }
        }
        self.zones[index].from = self.place(view.len().saturating_sub(if last { 0 } else { LONGEST }).max(from));
        view.len()
    }

    /// Undoes the escapes of a zone that is known whole.
    fn undo_zone(&mut self, walk: &mut Walk<'_>, view: &[u8], zone: &Range<usize>, family: Family, backwards: bool) {
        let text = &view[zone.clone()];
        if !self.may_open(walk, zone) {
            return;
        }
        self.undo(walk, view, zone, family, Charset::Utf8, false);
        if family != Family::Percent && has_latin1(text, family) {
            self.undo(walk, view, zone, family, Charset::Latin1, false);
        }
        if backwards {
            self.undo(walk, view, zone, family, Charset::Utf8, true);
        }
    }

    fn undo(
        &mut self,
        walk: &mut Walk<'_>,
        view: &[u8],
        zone: &Range<usize>,
        family: Family,
        charset: Charset,
        reversed: bool,
    ) {
        let turned: Vec<u8>;
        let text = if reversed {
            turned = view[zone.clone()].iter().rev().copied().collect();
            &turned
        } else {
            &view[zone.clone()]
        };
        let mut out = walk.buffer();
        unescape(text, family, charset, &mut out, None);
        walk.spend(out.len());
        // Every escape is longer than what it stands for: nothing was one.
        if out.len() == text.len() {
            walk.give_back(out);
            return;
        }
        let steps = if reversed { vec![Encoding::Reversed, family.step(text)] } else { vec![family.step(text)] };
        let mark = walk.told.mark();
        self.inner(&steps).whole(walk, &out);
        if walk.told.mark() != mark {
            let mut origins = Vec::new();
            out.clear();
            unescape(text, family, charset, &mut out, Some(&mut origins));
            origins.push(text.len());
            let origin =
                |at: u64| usize::try_from(at).ok().and_then(|at| origins.get(at)).copied().unwrap_or(text.len());
            let start = self.place(zone.start);
            walk.told.outwards(mark, |range| {
                let (first, end) = (origin(range.start), origin(range.end));
                let (first, end) = if reversed { (text.len() - end, text.len() - first) } else { (first, end) };
                start + first as u64..start + end as u64
            });
        }
        walk.give_back(out);
    }

    /// Undoes a part of a zone that is longer than what is held back.
    fn stream_zone(
        &mut self,
        walk: &mut Walk<'_>,
        view: &[u8],
        part: Range<usize>,
        family: Family,
        open: Option<Box<Self>>,
        last: bool,
    ) -> Option<Box<Self>> {
        let text = &view[part.clone()];
        if open.is_none() && !self.may_open(walk, &part) {
            return None;
        }
        let mut layer = open.unwrap_or_else(|| Box::new(self.inner(&[family.step(text)])));
        let mark = walk.told.mark();
        unescape(text, family, Charset::Utf8, &mut layer.buffer, None);
        walk.spend(text.len());
        layer.advance(walk, last);
        let places = self.places(&part);
        walk.told.outwards(mark, |_| places.clone());
        (!last).then_some(layer)
    }
}

/// The next stretch of `view` in which escapes are undone, and whether any of them must be read backwards. Its end may be
/// after the end of `view`.
fn zone(
    engine: &Engine,
    view: &[u8],
    from: usize,
    next: Option<Escape>,
    open: bool,
    family: Family,
) -> Option<(Range<usize>, bool)> {
    let around = engine.neighbourhood();
    let (start, mut end, mut backwards) = match next {
        Some(first) if !(open && first.at > from + around) => {
            let start = if open { from } else { first.at.saturating_sub(around) };
            (start, first.at + around, !first.forwards)
        }
        _ if open => return Some((from..(from + around).min(view.len()), false)),
        _ => return None,
    };
    let mut at = end - around + 1;
    while let Some(escape) = engine.interest.next(view, at, family).filter(|escape| escape.at <= end + around) {
        end = escape.at + around;
        at = escape.at + 1;
        backwards |= !escape.forwards;
    }
    Some((start..end, backwards))
}

/// The end of what is known, but for an escape that may be cut in two there.
fn escape_free_end(view: &[u8], start: usize, family: Family) -> usize {
    let tail = view.len().saturating_sub(LONGEST).max(start);
    memchr::memchr(family.begin(), &view[tail..]).map_or(view.len(), |at| tail + at)
}

/// Runs.
impl Layer {
    fn undo_runs(&mut self, walk: &mut Walk<'_>, view: &[u8], last: bool, index: usize, alphabet: Alphabet) -> usize {
        let mut from = self.within(self.runs[index].from);
        if let Some(phases) = self.runs[index].open.take() {
            let run = continued(view, from, alphabet);
            from = run.range().end.max(from);
            let going_on = run.open && !last;
            self.stream_run(walk, view, &run, index, alphabet, phases, !going_on);
            if going_on {
                self.runs[index].from = self.place(from);
                return from;
            }
        }
        let shortest = walk.engine.shortest_run(alphabet);
        while let Some(run) = next_run(view, from, shortest, alphabet) {
            let range = run.range();
            if run.open && !last {
                return self.unfinished_run(walk, view, &run, index, alphabet);
            }
            if range.len() >= shortest && alphabet.is_likely(&view[range.clone()]) && self.may_open(walk, &range) {
                self.undo_run(walk, view, &run, alphabet);
            }
            from = range.end;
        }
        self.runs[index].from = self.place(view.len());
        view.len()
    }

    fn unfinished_run(
        &mut self,
        walk: &mut Walk<'_>,
        view: &[u8],
        run: &Run,
        index: usize,
        alphabet: Alphabet,
    ) -> usize {
        let range = run.range();
        if range.len() <= HOLD || !self.may_open(walk, &range) {
            let from = if range.len() <= HOLD { range.start } else { range.end };
            self.runs[index].from = self.place(from);
            return from;
        }
        let phase = |_| Phase { layer: self.inner(&[alphabet.step(&view[range.clone()])]), rest: Vec::new() };
        let phases = (0..alphabet.phases()).map(phase).collect();
        self.stream_run(walk, view, run, index, alphabet, phases, false);
        self.runs[index].from = self.place(range.end);
        range.end
    }

    /// Decodes a run that is known whole, from each of its first characters on.
    fn undo_run(&mut self, walk: &mut Walk<'_>, view: &[u8], run: &Run, alphabet: Alphabet) {
        let (mut values, mut out) = (walk.buffer(), walk.buffer());
        run.pieces.iter().for_each(|piece| alphabet.values(&view[piece.clone()], &mut values));
        let range = run.range();
        let inner = self.path.then(&[alphabet.step(&view[range.clone()])]);
        let (mark, places) = (walk.told.mark(), self.places(&range));
        let mut decode = |values: &[u8], path: Path| {
            for phase in 0..alphabet.phases().min(values.len()) {
                out.clear();
                let left = alphabet.decode(&values[phase..], &mut out);
                alphabet.decode_rest(&values[values.len() - left..], &mut out);
                walk.spend(out.len());
                Self::new(path, self.depth + 1).whole(walk, &out);
            }
        };
        decode(&values, inner);
        // A form that stands reversed is found as it is, but not if it was wrapped.
        let line_before = line_before(view, range.start, alphabet);
        if run.pieces.len() > 1 || !line_before.is_empty() {
            values.reverse();
            let first = values.len();
            alphabet.values(&view[line_before], &mut values);
            values[first..].reverse();
            decode(&values, self.path.then(&[Encoding::Reversed, alphabet.step(&view[range.clone()])]));
        }
        walk.told.outwards(mark, |_| places.clone());
        walk.give_back(values);
        walk.give_back(out);
    }

    /// Decodes a part of a run that is longer than what is held back.
    #[expect(clippy::too_many_arguments, reason = "a part of a run has this many sides")]
    fn stream_run(
        &mut self,
        walk: &mut Walk<'_>,
        view: &[u8],
        run: &Run,
        index: usize,
        alphabet: Alphabet,
        mut phases: Vec<Phase>,
        last: bool,
    ) {
        let (mark, places) = (walk.told.mark(), self.places(&run.range()));
        let first =
            phases.iter().all(|phase| phase.layer.base == 0 && phase.layer.buffer.is_empty() && phase.rest.is_empty());
        for (number, phase) in phases.iter_mut().enumerate() {
            run.pieces.iter().for_each(|piece| alphabet.values(&view[piece.clone()], &mut phase.rest));
            if first {
                phase.rest.drain(..number.min(phase.rest.len()));
            }
            let left = alphabet.decode(&phase.rest, &mut phase.layer.buffer);
            walk.spend(phase.rest.len());
            phase.rest.drain(..phase.rest.len() - left);
            if last {
                alphabet.decode_rest(&phase.rest, &mut phase.layer.buffer);
            }
            phase.layer.advance(walk, last);
        }
        walk.told.outwards(mark, |_| places.clone());
        self.runs[index].open = (!last).then_some(phases);
    }
}

/// Members.
impl Layer {
    fn unpack_members(&mut self, walk: &mut Walk<'_>, view: &[u8], last: bool) {
        let mut from = self.within(self.members_from);
        if let Some(member) = self.member.take() {
            match self.feed(walk, view, from, member, last) {
                Some(after) => from = after,
                None => return,
            }
        } else if from == 0 && self.base == 0 {
            self.begin(walk, view, last);
            if self.member.is_some() {
                return;
            }
        }
        if view[from.min(view.len())..].is_ascii() {
            self.members_from = self.place(view.len().saturating_sub(members::LONGEST_HEADER).max(from));
            return;
        }
        while let Some((at, length, magic)) = members::next_magic(view, from) {
            from = at + 1;
            if magic.is_reversed() {
                self.unpack_reversed(walk, &view[..at + length], magic);
                continue;
            }
            match magic.start(&view[at..]) {
                Start::Chance => {}
                Start::Unreadable => walk.told.unseen(self.places(&(at..at + length)), self.path, Reason::Unreadable),
                Start::Short if last => {}
                Start::Short => {
                    self.members_from = self.place(at);
                    return;
                }
                Start::Member(mut decoder, step, skip) => {
                    let range = at..at + length;
                    if self.depth >= walk.engine.limits.depth {
                        if decoder.unpacks(view.get(at + skip..).unwrap_or_default()) {
                            walk.told.unseen(self.places(&range), self.path, Reason::TooDeep);
                        }
                        continue;
                    }
                    if !self.may_open(walk, &range) {
                        continue;
                    }
                    let member = self.member_at(at, decoder, step, skip);
                    match self.feed(walk, view, at, member, last) {
                        Some(after) => from = after.max(from),
                        None => return,
                    }
                }
            }
        }
        self.members_from = self.place(view.len().saturating_sub(if last { 0 } else { 3 }).max(from));
    }

    /// What the first bytes of a text tell.
    fn begin(&mut self, walk: &mut Walk<'_>, view: &[u8], last: bool) {
        if members::is_foreign(view) {
            walk.told.unseen(self.places(&(0..view.len())), self.path, Reason::Unreadable);
        }
        let Some(decoder) = members::headless(view) else { return };
        if self.depth >= walk.engine.limits.depth || walk.is_spent() {
            return;
        }
        let member = self.member_at(0, decoder, Encoding::Deflate, 0);
        self.feed(walk, view, 0, member, last);
    }

    fn member_at(&self, at: usize, decoder: Decoder, step: Encoding, skip: usize) -> Box<Member> {
        Box::new(Member {
            step,
            decoder,
            start: self.place(at),
            skip,
            read: 0,
            unpacked: 0,
            layer: self.inner(&[step]),
        })
    }

    /// Unpacks what of `member` is in `view` from `at` on. Says from where on to look for the next one; `None`: the member goes on after
    /// `view`.
    fn feed(
        &mut self,
        walk: &mut Walk<'_>,
        view: &[u8],
        at: usize,
        mut member: Box<Member>,
        last: bool,
    ) -> Option<usize> {
        let mark = walk.told.mark();
        let unpacked = member.unpack(walk, &view[at.min(view.len())..], last);
        let end = match unpacked {
            Unpacked::Ended(length) => self.place(at + length),
            _ => self.place(view.len()),
        };
        let (start, path) = (member.start, self.path.then(&[member.step]));
        let damage = match unpacked {
            Unpacked::Failed => members::failure(member.step, member.unpacked),
            Unpacked::Stopped => Some(if walk.is_spent() { Reason::TooMuchWork } else { Reason::TooLarge }),
            Unpacked::Open | Unpacked::Ended(_) => None,
        };
        if let Some(reason) = damage {
            walk.told.unseen(start..end, path, reason);
        }
        walk.told.outwards(mark, |_| start..end);
        match unpacked {
            Unpacked::Open => {
                self.member = Some(member);
                self.members_from = self.place(view.len());
                None
            }
            Unpacked::Ended(length) => Some(at + length),
            // It may have been none: what it seemed to be made of is looked at again, as far as it is still there.
            Unpacked::Failed | Unpacked::Stopped => Some(self.within(start) + usize::from(start >= self.base)),
        }
    }

    fn unpack_reversed(&mut self, walk: &mut Walk<'_>, text: &[u8], magic: Magic) {
        let range = text.len().saturating_sub(PIECE)..text.len();
        if self.depth >= walk.engine.limits.depth || walk.is_spent() {
            return;
        }
        let turned: Vec<u8> = text[range.clone()].iter().rev().copied().collect();
        let Start::Member(decoder, step, skip) = magic.start(&turned) else { return };
        let mut member = self.member_at(0, decoder, step, skip);
        member.layer = self.inner(&[Encoding::Reversed, step]);
        let (mark, places) = (walk.told.mark(), self.places(&range));
        // Where it ends is not known, so not ending properly tells nothing.
        let _ = member.unpack(walk, &turned, true);
        walk.told.outwards(mark, |_| places.clone());
    }
}

impl Member {
    fn unpack(&mut self, walk: &mut Walk<'_>, input: &[u8], last: bool) -> Unpacked {
        let mut at = self.skip.min(input.len());
        self.skip -= at;
        let result = loop {
            let room = self.layer.room(UNPACK);
            let step = self.decoder.step(&input[at..], room);
            let Some(step) = step else {
                self.layer.unused(UNPACK);
                break Unpacked::Failed;
            };
            self.layer.unused(UNPACK - step.written);
            at += step.read;
            (self.read, self.unpacked) = (self.read + step.read as u64, self.unpacked + step.written as u64);
            walk.spend(step.read + step.written);
            if step.ended {
                break Unpacked::Ended(at);
            }
            if walk.is_spent() || walk.engine.limits.exceeds(self.read, self.unpacked) {
                break Unpacked::Stopped;
            }
            if step.read == 0 && step.written == 0 {
                break if last { Unpacked::Failed } else { Unpacked::Open };
            }
            if self.layer.buffer.len() >= PIECE {
                self.layer.advance(walk, false);
            }
        };
        if !matches!(result, Unpacked::Open) {
            self.layer.advance(walk, true);
        }
        result
    }
}
