"""Make a file of a checkpoint to hand on.

It holds the weights, the names of the classes, thresholds and precision, and a digest of what is in it, which also ends
its name: OUT-1a2b3c4d.pth. It holds no optimizer, no log, no config, and none of the paths, hosts and users that a
checkpoint of a training names. predict, test, diagnose and report take it with the config as they take any other.
"""
from cxrdet.cli import arguments
from cxrdet.core.terminal import say


def add_arguments(parser) -> None:
    arguments.add_checkpoint(parser, 'checkpoint of a training')
    parser.add_argument('out', type=arguments.new_file('.pth'), metavar='OUT.pth',
                        help='the new file; the digest is put before the ending')
    arguments.add_trust(parser)


def run(args) -> None:
    from cxrdet.checkpoints.checkpoint import publish
    path = publish(args.checkpoint, args.out, trust=args.trust_checkpoint)
    say(f'{path}: {path.stat().st_size / 2**20:.1f} MB')
