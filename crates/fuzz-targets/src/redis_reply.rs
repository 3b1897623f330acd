use tee_session_redis_adapter::fuzzing::{Sent, sent};

/// The input is what Redis, or whoever sits in its place, sends. A reply has an end, it is read the
/// same whatever follows it, and none of its beginnings is taken for another.
pub fn redis_reply(input: &[u8]) {
    let Sent::Reply { said, len } = sent(input) else {
        return;
    };
    assert!(len > 0);
    // One that is too long to be kept ends beyond what there is.
    if let Some(reply) = input.get(..len) {
        assert_eq!(sent(reply), Sent::Reply { said, len });
        let beginnings = [len / 2, len.saturating_sub(2), len - 1];
        for end in beginnings {
            assert_eq!(sent(&reply[..end]), Sent::Incomplete);
        }
    }
}
