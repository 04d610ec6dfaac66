import cv2
import numpy as np
import pytest

from pipeline.faces import DlibDetector, Face, FaceAlignmentDetector, Remembering, choose_face, find_faces
from weights.errors import InvalidFile, NoFace, WeightsMissing
from weights.store import Store


@pytest.fixture(scope="module")
def dlib(store):
    return DlibDetector(store)


@pytest.fixture(scope="module")
def face(dlib, astronaut):
    (face,) = find_faces(astronaut.pixels, dlib)
    return face


def test_only_the_real_face_is_found(face):
    assert face.detector == "dlib"
    assert np.abs(face.landmarks.mean(axis=0) - [221, 132]).max() < 6
    assert face.landmarks.shape == (68, 2)
    assert face.score > 1
    x0, y0, x1, y1 = face.box
    assert x0 <= face.landmarks[:, 0].min() <= face.landmarks[:, 0].max() <= x1
    assert y0 <= face.landmarks[:, 1].min() <= face.landmarks[:, 1].max() <= y1


def distance(found, expected, scale):
    """Mean distance of landmarks in units of the distance between the outer corners of the eyes."""
    return np.hypot(*(found - expected).T).mean() / (np.hypot(*(expected[45] - expected[36])) * scale)


def test_the_same_picture_is_looked_at_once():
    class Counting:
        name = "dlib"
        looks = 0

        def detect(self, image):
            self.looks += 1
            return [Face(landmarks=np.zeros((68, 2)), box=(0, 0, 1, 1), score=float(image.mean()), detector="dlib")]

    counting = Counting()
    detector = Remembering(counting)
    pictures = [np.full((4, 6, 3), i, np.uint8) for i in range(Remembering.KEPT + 1)]
    for picture in (pictures[0], pictures[0].copy(), pictures[1], pictures[0]):
        (found,) = detector.detect(picture)
        assert found.score == picture.mean()
        detector.detect(picture).clear()  # whose list it is
    assert counting.looks == 2
    detector.detect(pictures[0].reshape(6, 4, 3))
    assert counting.looks == 3
    for picture in pictures:
        detector.detect(picture)
    assert counting.looks == 3 + len(pictures) - 2
    detector.detect(pictures[0])  # which was let go of, as it was not seen for longest
    assert counting.looks == 3 + len(pictures) - 1


@pytest.mark.parametrize("scale", [0.5, 2.0, 5.0])
def test_faces_of_any_size(dlib, astronaut, face, scale):
    picture = cv2.resize(astronaut.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    (found,) = find_faces(picture, dlib)
    assert distance((found.landmarks + 0.5) / scale - 0.5, face.landmarks, 1) < 0.05


@pytest.mark.parametrize("angle", [20, -35, 90, 180])
def test_faces_at_any_angle(dlib, astronaut, face, angle):
    matrix = cv2.getRotationMatrix2D((255.5, 255.5), angle, 0.7)
    picture = cv2.warpAffine(astronaut.pixels, matrix, (512, 512))
    (found,) = find_faces(picture, dlib)
    expected = face.landmarks @ matrix[:, :2].T + matrix[:, 2]
    assert distance(found.landmarks, expected, 1) < 0.06


def test_a_turned_face_of_a_large_photo(dlib, astronaut, face):
    """It is found in a small copy, and its landmarks are those of the whole photo."""
    large = cv2.resize(astronaut.pixels, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    (found,) = find_faces(np.ascontiguousarray(large.transpose(1, 0, 2)[:, ::-1]), dlib)
    expected = np.stack([1535 - (face.landmarks[:, 1] * 3 + 1), face.landmarks[:, 0] * 3 + 1], axis=1)
    assert distance(found.landmarks, expected, 1) < 0.05


def test_a_large_photo_without_a_face_is_not_searched_at_its_full_size(dlib, monkeypatch):
    sizes = []
    monkeypatch.setattr(dlib, "_boxes", lambda image, upsample: sizes.append(image.shape[:2]) or [])
    assert dlib.detect(np.zeros((3000, 4000, 3), np.uint8)) == []
    assert len(sizes) == 2 + len(dlib.TURNS)
    assert max(sizes) == (1800, 2400)
    assert max(height * width for height, width in sizes[2:]) < 1260 * 1260


@pytest.mark.parametrize("shape", [(4, 12000, 3), (12000, 1, 3), (1, 1, 3)])
def test_thin_pictures_have_no_faces(dlib, shape):
    assert dlib.detect(np.zeros(shape, np.uint8)) == []


def test_faces_come_from_left_to_right_and_the_largest_is_the_default(dlib, astronaut):
    crop = astronaut.pixels[:260, 100:340]
    large = cv2.resize(crop, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)
    picture = np.zeros((400, 640, 3), np.uint8)
    picture[:260, :240], picture[:390, 260:620] = crop, large
    faces = find_faces(picture, dlib)
    assert len(faces) == 2
    assert faces[0].box[0] < faces[1].box[0]
    assert choose_face(faces) is faces[1]
    assert choose_face(faces, 1) is faces[0]


def test_no_face(dlib):
    assert find_faces(np.full((200, 300, 3), 127, np.uint8), dlib) == []
    with pytest.raises(NoFace, match="No face was found"):
        choose_face([])


def test_a_number_that_no_face_has():
    face = Face(landmarks=np.zeros((68, 2)), box=(0, 0, 1, 1), score=1, detector="dlib")
    for number in (0, 2, -1):
        with pytest.raises(NoFace, match=f"--face {number} was asked for, and there is one face"):
            choose_face([face], number)
    with pytest.raises(NoFace, match="there are 2 faces"):
        choose_face([face, face], 3)


@pytest.mark.parametrize("part", [0, 1000])
def test_a_damaged_predictor_is_said_in_a_sentence(part, store, tmp_path):
    own = Store(folder=tmp_path, offline=True)
    damaged = own.path("dlib-landmarks")
    damaged.parent.mkdir()
    with store.get("dlib-landmarks").open("rb") as file:
        damaged.write_bytes(file.read(part))
    with pytest.raises(InvalidFile, match=r"is damaged: remove it with `photodrag weights remove dlib-landmarks`"):
        DlibDetector(own)
    assert own.remove("dlib-landmarks")
    with pytest.raises(WeightsMissing):
        DlibDetector(own)


def test_face_alignment_downloads_nothing_by_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(WeightsMissing, match="fan-detector"):
        FaceAlignmentDetector(Store(folder=tmp_path, offline=True), "cpu")


def test_face_alignment_with_networks_from_the_store(tmp_path, monkeypatch):
    """Random networks stand in for the real ones, whose host is not reached from everywhere."""
    import torch
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    store = Store(folder=tmp_path, offline=True)
    torch.manual_seed(0)
    for name, network in (("fan-detector", s3fd()), ("fan-landmarks", FAN(4))):
        store.path(name).parent.mkdir(exist_ok=True)
        torch.save(network.state_dict(), store.path(name))
    detector = FaceAlignmentDetector(store, "cpu")
    offered = tmp_path / "torch" / "hub" / "checkpoints" / store.path("fan-landmarks").name
    assert offered.read_bytes() == store.path("fan-landmarks").read_bytes()
    picture = np.zeros((2 * detector.LONGEST, 64, 3), np.uint8)
    monkeypatch.setattr(detector._networks.face_detector, "detect_from_image", lambda image: [[8, 100, 24, 120, 0.9]])
    (found,) = detector.detect(picture)
    assert (found.detector, found.score, found.landmarks.shape) == ("face-alignment", 0.9, (68, 2))
    assert np.abs(found.landmarks.mean(axis=0) - [32, 220]).max() < 60
