"""Write a checkpoint that can be shared.

It holds the weights, class names, thresholds and precision, and a digest of its content, which also ends its name:
OUT-1a2b3c4d.pth. It holds no optimizer, log or config, and none of the paths, hosts and users that a training
checkpoint names. predict, test, diagnose and report take it with the config like any other checkpoint.
"""
from cxrdet.cli import arguments
from cxrdet.core.terminal import say


def add_arguments(parser) -> None:
    arguments.add_checkpoint(parser, 'checkpoint written by a training')
    parser.add_argument('out', type=arguments.new_file('.pth'), metavar='OUT.pth',
                        help='the new file; the digest is added before .pth')
    arguments.add_trust(parser)


def run(args) -> None:
    from cxrdet.checkpoints.checkpoint import publish
    path = publish(args.checkpoint, args.out, trust=args.trust_checkpoint)
    say(f'{path}: {path.stat().st_size / 2**20:.1f} MB')
