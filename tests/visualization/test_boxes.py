"""Pictures are checked pixel by pixel where a rule says what must be there: lines, colours, gaps, places of labels."""
import cv2
import numpy as np
import pytest

from cxrdet.core.detection.matching import pair_boxes
from cxrdet.visualization.boxes import (
    LEGEND,
    PALETTE,
    STATES,
    STYLES,
    Look,
    class_look,
    compare_boxes,
    draw_boxes,
    draw_legend,
    grid,
    input_picture,
    resized,
    side_by_side,
)

GREY = np.full((480, 640, 3), 128, np.uint8)


def colored(picture: np.ndarray, color) -> np.ndarray:
    return (picture == np.array(color, np.uint8)).all(axis=2)


def test_lines_stand_on_the_box():
    picture = draw_boxes(GREY, [[100.4, 200, 300, 400.6]], [1], names=False, width=3)
    found = colored(picture, PALETTE[1])
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    # half the width and the smoothing
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (198, 403, 98, 302)
    assert found[200, 100:301].all() and found[200:402, 300].all()
    assert colored(picture, (128,) * 3)[206:395, 106:295].all()


def test_the_image_is_not_changed_and_nothing_is_drawn_for_no_box():
    image = GREY.copy()
    draw_boxes(image, [[10, 10, 50, 50]], [0])
    assert (image == GREY).all()
    assert (draw_boxes(image, [], []) == GREY).all()


@pytest.mark.parametrize('shape', [(50, 60), (50, 60, 1), (50, 60, 3)])
def test_kinds_of_images(shape):
    image = np.arange(np.prod(shape), dtype=np.int64).reshape(shape).astype(np.uint8)
    picture = draw_boxes(image, np.zeros((0, 4)), [])
    assert picture.shape == (50, 60, 3) and (picture[..., 0] == image.reshape(50, 60, -1)[..., 0]).all()


@pytest.mark.parametrize('side', [12, 40, 400])
def test_styles_differ_without_colour(side):
    """Gaps in one side of a box: none, some, many; in a box of a few pixels the last two look the same."""
    gaps = []
    for style in STYLES:
        box, look = [50, 50, 50 + side, 450], Look((0, 0, 0), style)
        picture = draw_boxes(GREY, [box], [0], looks=[look], names=False, width=1)
        drawn = (picture[50, 50:51 + side] < 120).all(axis=1)
        gaps.append(int((np.diff(drawn.astype(int)) == 1).sum()))
    assert gaps[0] == 0 < gaps[1]
    assert gaps[2] > 2 * gaps[1] if side > 12 else gaps[2] >= gaps[1]


@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('box', [[5, 5, 5, 5], [5, 5, 7, 300], [-50, -50, 900, 900], [630, 470, 700, 600]])
def test_odd_boxes(style, box):
    picture = draw_boxes(GREY, [box], [0], [1.0], looks=[Look((0, 0, 255), style)])
    assert colored(picture, (0, 0, 255)).any()


def test_classes_have_21_looks():
    looks = [class_look(i) for i in range(21)]
    assert len(set(looks)) == 21 and class_look(21) == looks[0]
    assert [look.style for look in looks[:8]] == ['solid'] * 7 + ['dashed']


def test_palette_can_be_told_apart_with_every_colour_blindness():
    """Machado et al. 2009, severity 1: all pairs of colours stay apart in CIE Lab by more than ten units."""
    machado = {
        'none': np.eye(3),
        'protan': [[.152286, 1.052583, -.204868], [.114503, .786281, .099216], [-.003882, -.048116, 1.051998]],
        'deutan': [[.367322, .860646, -.227968], [.280085, .672501, .047413], [-.011820, .042940, .968881]],
        'tritan': [[1.255528, -.076749, -.178779], [-.078411, .930809, .147602], [.004733, .691367, .303900]]}
    rgb = np.array(PALETTE, np.float64)[:, ::-1] / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for matrix in machado.values():
        seen = np.clip(linear @ np.array(matrix).T, 0, 1)
        srgb = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
        lab = cv2.cvtColor(srgb[None].astype(np.float32), cv2.COLOR_RGB2Lab)[0]
        distance = np.linalg.norm(lab[:, None] - lab[None], axis=2)
        assert distance[~np.eye(len(lab), dtype=bool)].min() > 10


@pytest.mark.parametrize('box, place', [
    ([200, 200, 300, 300], 'above'), ([200, 0, 300, 100], 'inside'), ([600, 200, 640, 300], 'above')])
def test_label_is_whole_and_at_the_box(box, place):
    plain = draw_boxes(GREY, [box], [0], names=False)
    picture = draw_boxes(GREY, [box], [0], [0.87], classes=['Platelets'])
    rows, columns = np.nonzero((picture != plain).any(axis=2))
    assert 50 < columns.max() - columns.min() < 140 and 10 < rows.max() - rows.min() < 25
    assert rows.max() < box[1] + 2 if place == 'above' else rows.max() > box[1]
    assert columns.max() <= 639
    if box[2] < 640:
        assert abs(columns.min() - box[0]) < 4


def test_labels_make_way_for_each_other():
    """Two boxes with the same upper left corner: the better one keeps the place above, the other goes elsewhere."""
    boxes, looks = [[200, 200, 300, 300], [200, 200, 320, 330]], [Look((255, 0, 0)), Look((0, 0, 255))]
    picture = draw_boxes(GREY, boxes, [0, 1], [0.9, 0.8], looks=looks, classes=['RBC', 'WBC'])
    above = picture[180:197, 190:330]
    assert colored(above, (255, 0, 0)).sum() > 300 and not colored(above, (0, 0, 255)).any()
    assert colored(picture[203:220], (0, 0, 255)).sum() > 300


def test_lines_and_text_grow_with_the_image():
    small, large = (draw_boxes(np.zeros((side, side), np.uint8), [[side // 4] * 2 + [side // 2] * 2], [0], [0.5])
                    for side in (300, 1800))
    share = [colored(picture, PALETTE[0]).sum() ** 0.5 for picture in (small, large)]
    assert 6 < share[1] / share[0] < 12  # six times the side


def test_comparison_tells_found_false_and_missed():
    target = {'boxes': [[50, 50, 150, 150], [250, 50, 350, 150], [450, 50, 550, 150]], 'labels': [0, 0, 1],
              'ignore': [False, False, True]}
    prediction = {'boxes': [[52, 50, 150, 150], [50, 300, 150, 400], [250, 50, 350, 150], [455, 55, 550, 150]],
                  'scores': [0.9, 0.8, 0.3, 0.9], 'labels': [0, 0, 0, 1]}
    picture = compare_boxes(GREY, pair_boxes([prediction], [target]), classes=['RBC', 'WBC'])
    states = {name: colored(picture, look.color) for name, look in STATES.items()}
    assert states['found'][40:160, 40:160].any() and states['false alarm'][290:410, 40:160].any()
    assert states['missed'][40:160, 240:360].any()  # the prediction there is below the score
    assert (picture[20:160, 440:560] == 128).all()  # on the ignored box nothing is drawn
    assert sum(found[:, :200].any() for found in states.values()) == 2
    assert len({look.style for look in STATES.values()}) == len(STATES)


def test_side_by_side():
    target, prediction = {'boxes': [[50, 50, 150, 150]], 'labels': [0]}, {'boxes': [], 'scores': [], 'labels': []}
    picture = side_by_side(GREY, pair_boxes([prediction], [target]), classes=['RBC'])
    assert picture.shape == (480 + 2 * 8, 2 * 640 + 3 * 8, 3)
    left, right = picture[:, :650], picture[:, 650:]
    assert colored(left, LEGEND['ground truth'].color).any() and colored(right, STATES['missed'].color).any()


def test_no_colour_at_the_left_means_something_else_in_the_legend():
    """Ground truth of every class: were it drawn in the colours of classes, it would look found, false or missed."""
    target = {'boxes': [[50 + 80 * i, 50, 110 + 80 * i, 150] for i in range(7)], 'labels': range(7)}
    picture = side_by_side(GREY, pair_boxes([{'boxes': [], 'scores': [], 'labels': []}], [target]))
    assert not any(colored(picture[:, :650], look.color).any() for look in STATES.values())
    legend = draw_legend(picture, LEGEND)[len(picture):]
    assert all(colored(legend, look.color).any() for look in LEGEND.values())


def test_model_input_as_a_picture():
    inputs = np.array([[[-1., 0.]], [[1., 3.]], [[0., 0.]]], np.float32)  # (3, 1, 2)
    assert input_picture(inputs).tolist() == [[[0, 128, 64], [64, 255, 64]]]
    bytes_ = np.arange(6, dtype=np.uint8).reshape(3, 1, 2)
    assert input_picture(bytes_).tolist() == [[[0, 2, 4], [1, 3, 5]]]
    assert not input_picture(np.full((3, 2, 2), 7.)).any()


def test_resized():
    assert [resized(GREY, 320)[1], resized(GREY, 1280, enlarge=False)[1], resized(GREY, 1280)[1]] == [0.5, 1, 2]
    assert resized(GREY, 320)[0].shape == (240, 320, 3) and resized(GREY, 1280, enlarge=False)[0] is GREY


def test_grid():
    pictures = [np.full(shape, value, np.uint8) for shape, value in (((40, 60), 10), ((20, 60), 20), ((40, 30), 30))]
    sheet = grid(pictures, 2)
    assert sheet.shape == (2 * 44 + 4, 2 * 64 + 4, 3)
    assert (sheet[4:44, 4:64] == 10).all() and (sheet[14:34, 68:128] == 20).all() and (sheet[48:88, 19:49] == 30).all()
    counts = [(sheet == value).all(axis=2).sum() for value in (10, 20, 30, 255)]
    assert counts == [2400, 1200, 1200, sheet[..., 0].size - 4800]


def test_grid_with_titles():
    sheet = grid([GREY, GREY], 1, titles=['first', 'second'])
    assert sheet.shape[0] > grid([GREY, GREY], 1).shape[0]
    top = np.flatnonzero((sheet == 128).all(axis=(1, 2)) | (sheet[:, 320] == 128).all(axis=1))[0]
    assert (sheet[:top] < 100).any() and (sheet[:, -3:] == 255).all()


def test_legend_takes_as_many_lines_as_needed():
    entries = {f'class number {i}': class_look(i) for i in range(9)}
    one, all_of_them = draw_legend(GREY, dict(list(entries.items())[:1])), draw_legend(GREY, entries)
    assert one.shape[1] == all_of_them.shape[1] == 640 and 480 < one.shape[0] < all_of_them.shape[0]
    assert (all_of_them[:480] == GREY).all()
    assert all(colored(all_of_them[480:], look.color).any() for look in entries.values())


@pytest.mark.parametrize('call, text', [
    (lambda: draw_boxes(GREY, [[1, 2, 3, 4]], [0, 1]), 'expected one entry of labels a box, got 2 for 1 boxes'),
    (lambda: draw_boxes(GREY, [[1, 2, 3, 4]], [0], [.1, .2]), 'expected one entry of scores a box'),
    (lambda: draw_boxes(GREY, [[1, 2, 3]], [0]), r'expected shape \(N, 4\)'),
    (lambda: draw_boxes(GREY / 2, [], []), r'uint8, got \(480, 640, 3\), float64'),
    (lambda: draw_boxes(np.zeros((0, 5), np.uint8), [], []), r'got \(0, 5\)'),
    (lambda: draw_boxes(GREY, [[1, 2, 3, 4]], [0], looks=[Look((0, 0, 0), 'wavy')]),
     'style must be one of solid, dashed, dotted, got "wavy"'),
    (lambda: grid([]), 'at least one picture'),
    (lambda: grid([GREY], titles=['a', 'b']), 'one title a picture, got 2 for 1'),
])
def test_bad_input(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_long_titles_end_within_their_cell():
    sheet = grid([GREY, GREY], 2, titles=['a title of many words ' * 20, 'second'])
    head = (sheet[:sheet.shape[0] - 480 - 8, :] < 128).any(axis=2)
    assert head[:, 600:648].any(), 'the title uses its room'
    assert not head[:, 648:656].any(), 'and ends before the next'
    short = grid([GREY, GREY], 2, titles=['first', 'second'])
    assert (short[:, 656:] == sheet[:, 656:]).all()


def test_control_characters_in_names_are_written_out():
    image, box, name = np.zeros((60, 200, 3), np.uint8), [[10, 20, 60, 50]], 'a\x1b[2J\nb\udcff'
    shown = draw_boxes(image, box, [0], classes=[r'a\x1b[2J\nb\udcff'])
    assert (draw_boxes(image, box, [0], classes=[name]) == shown).all()
    assert (grid([image], 1, titles=[name]) == grid([image], 1, titles=[r'a\x1b[2J\nb\udcff'])).all()
