//! Batches of changes, and questions.

use nix::errno::Errno;
use nix::libc::{
    AF_UNSPEC, NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES, NFPROTO_INET, NFT_MSG_GETCHAIN,
    NFT_MSG_GETTABLE, NLM_F_ACK, NLM_F_REQUEST,
};

use super::answers::{Answer, Attributes, Content, answers};
use super::message::Message;
use super::socket::Socket;
use super::table::{TABLE, chains, messages};
use crate::kernel::netlink::error::KernelError;
use crate::model::guard::{GuardChange, Rules};

/// What shows that our table is the one that was written: the handles of the table and its chains, and how many sets,
/// chains and rules there are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fingerprint(Vec<(u64, u32)>);

/// Writes and reads `nf_tables`. The kernel answers before the call that sends a request returns.
#[derive(Debug)]
pub struct Nftables {
    socket: Socket,
    sequence: u32,
    /// What was written last. Without a fingerprint, it was gone at once.
    written: Option<(Rules, Option<Fingerprint>)>,
}

impl Nftables {
    /// Opens the socket.
    ///
    /// # Errors
    /// When the kernel has no netfilter.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self { socket: Socket::requests()?, sequence: 0, written: None })
    }

    /// Carries a change out, as a whole or not at all. Removing what is not there succeeds.
    ///
    /// # Errors
    /// When the kernel refuses: without `nf_tables`, without the right, or because its table is not as it was written.
    pub fn apply(&mut self, change: &GuardChange) -> Result<(), KernelError> {
        let messages = messages(change);
        if messages.is_empty() {
            return Ok(());
        }
        match (self.batch(messages), change) {
            (Err(KernelError::Refused { errno: Errno::ENOENT, .. }), GuardChange::Remove) => {}
            (outcome, _) => outcome?,
        }
        match change {
            GuardChange::Build(rules, _) => {
                self.written = Some((*rules, self.fingerprint(*rules)?));
            }
            GuardChange::Remove => self.written = None,
            GuardChange::Edit(_) => {}
        }
        Ok(())
    }

    /// Whether our table is as it was written, but for elements of its sets.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn is_intact(&mut self) -> Result<bool, KernelError> {
        let Some((rules, written)) = self.written.clone() else { return Ok(true) };
        Ok(written.is_some() && self.fingerprint(rules)? == written)
    }

    fn fingerprint(&mut self, rules: Rules) -> Result<Option<Fingerprint>, KernelError> {
        /// `NFTA_TABLE_NAME`, `_USE`, `_HANDLE`; `NFTA_CHAIN_TABLE`, `_HANDLE`, `_NAME`, `_USE`.
        const OF_TABLE: [u16; 3] = [1, 3, 4];
        const OF_CHAIN: [u16; 4] = [1, 2, 3, 6];
        let [name, uses, handle] = OF_TABLE;
        let table = Message::new(NFT_MSG_GETTABLE, 0, NFPROTO_INET).text(name, TABLE);
        let mut found = vec![self.ask(table, |table| table.long(handle).zip(table.number(uses)))?.flatten()];
        let [of_table, handle, name, uses] = OF_CHAIN;
        for chain in chains(rules) {
            let request = Message::new(NFT_MSG_GETCHAIN, 0, NFPROTO_INET).text(of_table, TABLE).text(name, chain);
            found.push(self.ask(request, |chain| chain.long(handle).zip(chain.number(uses)))?.flatten());
        }
        Ok(found.into_iter().collect::<Option<Vec<_>>>().map(Fingerprint))
    }

    /// Asks for one object; nothing if it does not exist, or if the kernel cannot have it.
    pub(super) fn ask<T>(
        &mut self,
        request: Message,
        read: impl Fn(Attributes<'_>) -> T,
    ) -> Result<Option<T>, KernelError> {
        let sequence = self.next();
        self.socket.send(&request.finish(sequence, number(NLM_F_REQUEST)))?;
        loop {
            let bytes = self.socket.receive()?;
            let answer = answers(bytes).into_iter().find(|answer| answer.sequence == sequence);
            match answer.map(|answer| answer.content) {
                Some(Content::Object(attributes)) => return Ok(Some(read(attributes))),
                Some(Content::Outcome(_) | Content::Done) => return Ok(None),
                None => {}
            }
        }
    }

    /// Sends a batch and waits for its outcome. The kernel reports each message that it refuses, and then the outcome of
    /// the last one; before that it may refuse the batch itself.
    fn batch(&mut self, messages: Vec<Message>) -> Result<(), KernelError> {
        let around = |kind: i32| Message::with_header(number(kind), 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
        let begin = self.next();
        let mut bytes = around(NFNL_MSG_BATCH_BEGIN).finish(begin, number(NLM_F_REQUEST));
        let count = messages.len();
        let mut last = begin;
        for (nth, message) in (1..).zip(messages) {
            last = self.next();
            let flags = if nth == count { NLM_F_REQUEST | NLM_F_ACK } else { NLM_F_REQUEST };
            bytes.extend(message.finish(last, number(flags)));
        }
        let end = self.next();
        bytes.extend(around(NFNL_MSG_BATCH_END).finish(end, number(NLM_F_REQUEST)));
        self.socket.send(&bytes)?;
        let mut first_refusal = None;
        loop {
            for Answer { sequence, content } in answers(self.socket.receive()?) {
                let Content::Outcome(outcome) = content else { continue };
                if sequence.wrapping_sub(begin) > last.wrapping_sub(begin) {
                    continue;
                }
                first_refusal = first_refusal.or(outcome.err());
                if sequence == last || sequence == begin {
                    return first_refusal.map_or(Ok(()), |errno| Err(KernelError::Refused { what: "nftables", errno }));
                }
            }
        }
    }

    const fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

fn number(number: i32) -> u16 {
    u16::try_from(number).unwrap_or_default()
}
