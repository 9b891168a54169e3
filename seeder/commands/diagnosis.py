"""What `seeder diagnose` found: the verdict on it, and how it is told."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field

from seeder.commands.masking import mask_of
from seeder.commands.sought import Sought, Told
from seeder.commands.tasting import Taste
from seeder.s3.answers import printable
from seeder.units import counted


@dataclass(slots=True)
class Source:
    """What a tracker or a web seed did; `seconds` until it was through.

    One that isn't `tried` says why as its `problem`, and tells nothing of the torrent.
    """

    url: str
    tried: bool = True
    seconds: float | None = None
    problem: str = ""
    told: Told | None = None
    wrong: bool = False


@dataclass(slots=True)
class Diagnosis:
    """All that was found. It works if somebody gave a right piece and nobody a wrong one."""

    info_hash: str
    trackers: list[Source] = field(default_factory=list)
    peers: list[Taste] = field(default_factory=list)
    web_seeds: list[Source] = field(default_factory=list)
    verdict: str = ""
    works: bool = False

    def document(self) -> Mapping[str, object]:
        """Return it as JSON can say it, without what opens a torrent of somebody's own."""
        mask = self.mask()
        return {name: _masked(value, mask) for name, value in asdict(self).items()}

    def mask(self) -> Callable[[str], str]:
        """Return what hides in a text what the URLs have that opens a torrent."""
        return mask_of(each.url for each in (*self.trackers, *self.web_seeds))


def _masked(value: object, mask: Callable[[str], str]) -> object:
    """Return what JSON can say with each text masked."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {name: _masked(each, mask) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(each, mask) for each in value]
    return value


def judge(found: Diagnosis, sought: Sought) -> tuple[str, bool]:
    """Return one sentence about what was found, and whether a downloader gets the torrent."""
    right = [each for each in found.peers if each.verified is not None]
    seeds = [each for each in found.web_seeds if each.seconds is not None]
    liars = [str(each.address) for each in found.peers if each.wrong]
    liars += [each.url for each in found.web_seeds if each.wrong]
    if liars:
        rest = "; others give right ones" if right or seeds else ""
        return f"Wrong bytes come from {', '.join(liars)}{rest}.", False
    if right or seeds:
        times = [each.verified for each in right if each.verified is not None]
        times += [each.seconds for each in seeds if each.seconds is not None]
        counts = [_share(len(right), len(found.peers), "peer")] if found.peers else []
        counts += [_share(len(seeds), len(found.web_seeds), "web seed")] if found.web_seeds else []
        problems = [each.problem for each in found.trackers if each.tried and each.problem]
        lacks = f", but a tracker doesn't work: {problems[0]}" if problems else ""
        given = " and ".join(counts)
        return (
            f"It works: {given} gave a right piece, the first in {min(times):.1f} s{lacks}.",
            True,
        )
    return _why_nothing_came(found, sought), False


def _why_nothing_came(found: Diagnosis, sought: Sought) -> str:
    answered = [each for each in found.trackers if each.told is not None]
    refusals = [each.problem for each in answered if each.problem]
    if not found.trackers and not found.peers and not sought.web_seeds:
        return "Nothing names a tracker, a peer or a web seed, and DHT isn't tried."
    if found.trackers and not answered and not found.peers:
        tried = [each for each in found.trackers if each.tried]
        first = (tried or found.trackers)[0]
        nobody = "No tracker answers" if tried else "No tracker is tried"
        return f"{nobody}: {first.url} {first.problem}."
    if refusals and not found.peers:
        return f"The tracker {refusals[0]}."
    if sought.v2_only:
        named = counted(len(found.peers), "peer")
        return f"{named} named, but it is of BitTorrent v2 alone, whose pieces aren't tried."
    if not found.peers and not found.trackers:
        if sought.described is None:
            return "It names web seeds alone, and nobody sends the torrent's metadata."
        seed = found.web_seeds[0]
        return f"It names web seeds alone, and none gives a piece: {seed.url} {seed.problem}."
    if not found.peers:
        seeds = "".join(f"; {each.url} {each.problem}" for each in found.web_seeds[:1])
        return (
            f"No tracker names a peer: nobody seeds it, or the seeder isn't told to anybody{seeds}."
        )
    if all(each.connected is None for each in found.peers):
        return (
            f"None of {counted(len(found.peers), 'peer')} can be connected to:"
            f" {found.peers[0].address} {found.peers[0].problem}; check port and firewall."
        )
    if all(each.greeted is None for each in found.peers):
        return f"No peer has this torrent: {_first_problem(found)}."
    if sought.described is None:
        return f"No peer sends the torrent's metadata: {_first_problem(found)}."
    return f"No peer gives a piece: {_first_problem(found)}."


def _first_problem(found: Diagnosis) -> str:
    talked = max(
        found.peers, key=lambda each: (each.greeted is not None, each.connected is not None)
    )
    return f"{talked.address} {talked.problem}"


def _share(right: int, count: int, what: str) -> str:
    return f"{right} of {counted(count, what)}"


def render_diagnosis(found: Diagnosis, tell: Callable[[str], None]) -> None:
    """Tell it for people: a line each, then the verdict. Strangers wrote parts of the lines."""
    mask = found.mask()
    for line in _lines(found):
        tell(printable(mask(line), 2000))


def _lines(found: Diagnosis) -> Iterator[str]:
    yield f"info hash {found.info_hash}"
    for asked in found.trackers:
        told = asked.told
        says = asked.problem
        if told is not None and not says:
            says = (
                f"names {counted(len(told.peers), 'peer')} in {asked.seconds:.1f} s"
                f" (seeds: {_known(told.seeds)}, downloaders: {_known(told.leechers)})"
            )
        warning = f"; warns: {told.warning}" if told and told.warning else ""
        yield f"tracker {asked.url} {says}{warning}"
    for taste in found.peers:
        kind = "seeder" if taste.ours else (taste.client or "unknown client")[:40]
        says = taste.problem or "was not asked"
        if taste.verified is not None:
            says = f"gave a right piece in {taste.verified:.1f} s"
        yield f"peer {taste.address} ({kind}) {says}"
    for asked in found.web_seeds:
        says = asked.problem or f"gave a right piece in {asked.seconds or 0:.1f} s"
        yield f"web seed {asked.url} {says}"
    yield (found.verdict)


def _known(number: int | None) -> str:
    return "?" if number is None else str(number)
