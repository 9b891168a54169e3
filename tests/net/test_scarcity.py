"""What is told of errors that nobody foresaw."""

from seeder.net.scarcity import NO_MEMORY, NO_THREAD, why_it_failed


def test_a_lack_is_told_by_what_to_do_and_a_fault_as_it_is() -> None:
    no_thread = RuntimeError("can't start new thread")
    assert why_it_failed(ExceptionGroup("in a nursery", [no_thread] * 4)) == NO_THREAD
    assert why_it_failed(ExceptionGroup("in a nursery", [MemoryError(), MemoryError()])) == (
        NO_MEMORY
    )
    assert why_it_failed(KeyError("a bug")) == "internal error: KeyError('a bug')"
