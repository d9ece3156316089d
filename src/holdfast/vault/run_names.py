"""Readable names for runs, such as ``amber-harbor-12``: adjective, noun, and which run of its project it is."""

from __future__ import annotations

import random

_ADJECTIVES = (
    "amber autumn bold brave breezy bright calm clear cosmic crimson crisp curious dapper daring deep distant earnest "
    "easy eager early electric fair fearless fleet fond fresh gentle gilded glad golden grand happy hardy hidden honest "
    "humble icy jolly keen kind lasting light lively lucid lucky lunar mellow merry mighty misty modest neat nimble "
    "noble northern patient peach placid polar proud quick quiet radiant rapid ready restful robust rosy royal rustic "
    "scarlet serene sharp silent silver smooth snowy solar sound spry stable starry steady still sturdy summer sunny "
    "super swift tidy tranquil true trusty upbeat velvet vivid warm wild winter wise zesty"
)
_NOUNS = (
    "anchor arch aurora badger bay beacon beaver birch bird bison bloom bluff breeze bridge brook canyon cape cedar "
    "cliff cloud coast comet condor coral cove crane creek dawn delta dolphin dune eagle ember falcon fern field fjord "
    "flame forest fox galaxy garden geyser glacier glade grove gull harbor hawk heron hill horizon island jetty kestrel "
    "lagoon lake lark leaf lighthouse lion lynx maple marsh meadow meteor moon moss mountain oak ocean orbit orchard "
    "osprey otter owl path peak pebble pine planet plateau pond prairie puffin quarry rain raven reef ridge river robin "
    "sail sea shore sky snow spring spruce star stone storm stream summit sun surf tide trail tundra valley violet "
    "voyage water wave willow wind wolf wood wren"
)


def name_run(count: int) -> str:
    """Return a name for the ``count``-th run of a project."""
    return f"{random.choice(_ADJECTIVES.split())}-{random.choice(_NOUNS.split())}-{count}"  # noqa: S311 - not a secret
