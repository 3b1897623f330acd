//! The one who writes the commands of a connection, reads the replies, and hands them out.

use std::{
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::ReadBuf,
    sync::mpsc,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    client::{Client, Question, Queue, Unanswered},
    reply::Reply,
    resp::{Search, read_reply},
    stream::Stream,
};

/// What is read at once, to begin with.
const READ_LEN: usize = 16 * 1024;

/// A reply that takes more than this is none.
const MAX_READ_LEN: usize = 4 * 1024 * 1024;

/// What was once as long is not kept for what comes later.
const MAX_KEPT_LEN: usize = 256 * 1024;

/// Replies that say that this connection leads nowhere now: the server is a replica, is loading, or
/// takes nobody in who has not shown who he is. Another attempt may lead elsewhere.
const ENDING_CODES: [&[u8]; 6] = [
    b"READONLY",
    b"LOADING",
    b"MASTERDOWN",
    b"CLUSTERDOWN",
    b"NOAUTH",
    b"WRONGPASS",
];

/// What Redis tells without being asked goes here.
pub(super) type Pushes = mpsc::Sender<Vec<Reply>>;

/// A future that ends with the connection. When it is dropped, the connection is closed, and who waits
/// for a reply is told so.
pub(super) struct Driver {
    stream: Box<dyn Stream>,
    queue: Arc<Queue>,
    pushes: Option<Pushes>,
    /// What is being written, and how much of it has been.
    writing: Vec<u8>,
    written: usize,
    /// Not all that was written has left the stream's own buffers.
    is_flushing: bool,
    /// What has been read, up to `read`.
    reading: Vec<u8>,
    read: usize,
    /// So much of what is still to come belongs to a reply that is not kept.
    skipped: usize,
    /// For the end of a reply of which a part has been read.
    search: Option<Search>,
    waiting: VecDeque<Question>,
    /// Of so many, the last ones, not all commands are written.
    unsent: usize,
    /// Fires when a question's time is over, or before that.
    alarm: Pin<Box<Sleep>>,
    is_alarm_set: bool,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// Redis closed it.
    Closed,
    Failed(String),
    /// What came in was no reply, or nobody had asked for it.
    OutOfStep,
    /// More came in than any reply takes.
    Oversized,
    /// What is to be written would be written too late, as a rule since Redis takes nothing in.
    Stalled,
    /// Redis told more than was taken from the pushes.
    Lagging,
    /// Redis said this code, with which it is of no use.
    Refused(String),
}

impl Driver {
    /// Over `stream`, with what commands go through.
    pub(super) fn over(stream: Box<dyn Stream>, pushes: Option<Pushes>) -> (Client, Self) {
        let queue = Arc::<Queue>::default();
        let client = Client {
            queue: Arc::clone(&queue),
        };
        let driver = Self {
            stream,
            queue,
            pushes,
            writing: Vec::new(),
            written: 0,
            is_flushing: false,
            reading: vec![0; READ_LEN],
            read: 0,
            skipped: 0,
            search: None,
            waiting: VecDeque::new(),
            unsent: 0,
            alarm: Box::pin(sleep_until(Instant::now())),
            is_alarm_set: false,
        };
        (client, driver)
    }

    /// Takes over what was asked.
    fn take(&mut self) {
        let mut earliest = None;
        {
            let mut pending = self.queue.pending();
            if self.writing.is_empty() {
                std::mem::swap(&mut self.writing, &mut pending.commands);
            } else {
                self.writing.drain(..self.written);
                self.written = 0;
                self.writing.append(&mut pending.commands);
            }
            self.unsent += pending.questions.len();
            for question in pending.questions.drain(..) {
                earliest =
                    Some(earliest.map_or(question.until, |e: Instant| e.min(question.until)));
                self.waiting.push_back(question);
            }
        }
        if let Some(earliest) = earliest
            && !(self.is_alarm_set && self.alarm.deadline() <= earliest)
        {
            self.set_alarm(earliest);
        }
    }

    fn set_alarm(&mut self, at: Instant) {
        self.alarm.as_mut().reset(at);
        self.is_alarm_set = true;
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.writing.len() {
            let rest = &self.writing[self.written..];
            let written = ready!(Pin::new(&mut *self.stream).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
            self.is_flushing = true;
        }
        self.written = 0;
        self.writing.clear();
        self.writing.shrink_to(MAX_KEPT_LEN);
        if self.is_flushing {
            ready!(Pin::new(&mut *self.stream).poll_flush(cx))?;
            self.is_flushing = false;
        }
        self.unsent = 0;
        Poll::Ready(Ok(()))
    }

    /// Ready when there is nothing more to come.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            let mut free = ReadBuf::new(&mut self.reading[self.read..]);
            match ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut free)) {
                Err(error) => return Poll::Ready(Ending::Failed(error.to_string())),
                Ok(()) if free.filled().is_empty() => return Poll::Ready(Ending::Closed),
                Ok(()) => self.read += free.filled().len(),
            }
            if let Err(ending) = self.hand_out() {
                return Poll::Ready(ending);
            }
        }
    }

    /// Hands out the replies that have been read.
    fn hand_out(&mut self) -> Result<(), Ending> {
        let mut done = self.skipped.min(self.read);
        self.skipped -= done;
        // What else came with a reply that ends the connection is handed out before it does.
        let mut ending = Ok(());
        while done < self.read && self.may_be_whole(done)? {
            let reply = read_reply(&self.reading[done..self.read]);
            let Some((reply, length)) = reply.map_err(|_| Ending::OutOfStep)? else {
                self.search = Some(Search::begin());
                break;
            };
            let end = done.saturating_add(length);
            done = end.min(self.read);
            self.skipped = end - done;
            match reply {
                Reply::Push(told) => self.pass_on(told)?,
                reply => {
                    if let Some(code) = ending_code(&reply) {
                        ending = Err(Ending::Refused(code));
                    }
                    self.answer(reply)?;
                }
            }
        }
        self.reading.copy_within(done..self.read, 0);
        self.read -= done;
        if self.read == self.reading.len() {
            if self.read >= MAX_READ_LEN {
                return Err(Ending::Oversized);
            }
            self.reading.resize(2 * self.read, 0);
        } else if self.read == 0 && self.reading.len() > MAX_KEPT_LEN {
            self.reading = vec![0; READ_LEN];
        }
        ending
    }

    /// Whether the reply that begins at `start` may have come to its end.
    fn may_be_whole(&mut self, start: usize) -> Result<bool, Ending> {
        let Some(search) = &mut self.search else {
            return Ok(true);
        };
        let found = search.finds_end(&self.reading[start..self.read]);
        let is_whole = found.map_err(|_| Ending::OutOfStep)?;
        if is_whole {
            self.search = None;
        }
        Ok(is_whole)
    }

    fn answer(&mut self, reply: Reply) -> Result<(), Ending> {
        let question = self.waiting.front_mut().ok_or(Ending::OutOfStep)?;
        question.missing -= 1;
        if question.asker.is_some() {
            question.replies.push(reply);
        }
        if question.missing == 0
            && let Some(question) = self.waiting.pop_front()
            && let Some(asker) = question.asker
        {
            // Who has gone does not want to know.
            let _ = asker.send(Ok(question.replies));
        }
        Ok(())
    }

    fn pass_on(&self, told: Vec<Reply>) -> Result<(), Ending> {
        let Some(pushes) = &self.pushes else {
            return Ok(());
        };
        pushes.try_send(told).map_err(|_| Ending::Lagging)
    }

    /// Whether something would be written for somebody whose time is over.
    fn is_too_late(&self, now: Instant) -> bool {
        let mut unsent = self.waiting.iter().rev().take(self.unsent);
        self.is_alarm_set
            && self.alarm.deadline() <= now
            && unsent.any(|question| question.asker.is_some() && question.until <= now)
    }

    /// Answers those whose time is over. Ready when one of them has not been sent.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        while self.is_alarm_set {
            ready!(self.alarm.as_mut().poll(cx));
            let now = Instant::now();
            let is_stalled = self.is_too_late(now);
            self.tell_the_late(now);
            if is_stalled {
                return Poll::Ready(Ending::Stalled);
            }
        }
        Poll::Pending
    }

    /// Tells those whose time is over, and sets the alarm for the next.
    fn tell_the_late(&mut self, now: Instant) {
        self.is_alarm_set = false;
        let mut next: Option<Instant> = None;
        for question in &mut self.waiting {
            if question.asker.is_none() {
                continue;
            }
            if question.until <= now {
                if let Some(asker) = question.asker.take() {
                    let _ = asker.send(Err(Unanswered::Late));
                }
            } else {
                next = Some(next.map_or(question.until, |next| next.min(question.until)));
            }
        }
        if let Some(next) = next {
            self.set_alarm(next);
        }
    }

    /// Ready when the connection has come to its end.
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if self.unsent > 0 {
            let now = Instant::now();
            if self.is_too_late(now) {
                self.tell_the_late(now);
                return Poll::Ready(Ending::Stalled);
            }
        }
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Ending::Failed(error.to_string()));
        }
        match self.poll_read(cx) {
            Poll::Pending => self.poll_alarm(cx),
            ending => ending,
        }
    }

    fn end(&mut self, reason: &Arc<str>) {
        let questions = {
            let mut pending = self.queue.pending();
            pending.is_closed = true;
            pending.commands = Vec::new();
            std::mem::take(&mut pending.questions)
        };
        for question in self.waiting.drain(..).chain(questions) {
            if let Some(asker) = question.asker {
                let _ = asker.send(Err(Unanswered::Ended(Arc::clone(reason))));
            }
        }
    }
}

impl Future for Driver {
    type Output = Ending;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ending> {
        let this = self.get_mut();
        // Before it looks what there is, so that nothing is missed.
        this.queue.driver.register(cx.waker());
        this.take();
        let ending = this.poll_ending(cx);
        if let Poll::Ready(ending) = &ending {
            this.end(&ending.to_string().into());
        }
        ending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.end(&"it was given up".into());
    }
}

fn ending_code(reply: &Reply) -> Option<String> {
    let Reply::Error(text) = reply else {
        return None;
    };
    let code = text.split(|byte| *byte == b' ').next()?;
    ENDING_CODES
        .contains(&code)
        .then(|| String::from_utf8_lossy(code).into_owned())
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("Redis closed the connection"),
            Self::Failed(reason) => f.write_str(reason),
            Self::OutOfStep => f.write_str("an answer did not fit its question"),
            Self::Oversized => f.write_str("a reply was longer than any that is asked for"),
            Self::Stalled => f.write_str("commands could not be written in their time"),
            Self::Lagging => f.write_str("changes came faster than they could be passed on"),
            Self::Refused(code) => write!(f, "Redis said {code}"),
        }
    }
}

#[cfg(test)]
mod tests;
