//! Measures the duration of each operation of the hot path.

use criterion::{Criterion, criterion_group, criterion_main};
use mimalloc::MiMalloc;
use tee_session_micro_bench::operations::OPERATIONS;

/// Memory allocator of this benchmark. Tee Session uses the same allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn hot_path(criterion: &mut Criterion) {
    for operation in OPERATIONS {
        #[expect(clippy::expect_used, reason = "the sample of each operation is valid")]
        let mut repeat = operation.prepared().expect("an operation can be prepared");
        criterion.bench_function(operation.name, |bencher| bencher.iter(&mut repeat));
    }
}

criterion_group!(benches, hot_path);
criterion_main!(benches);
